//! What a `User-Agent` header says, in families. The header itself is never kept.

use woothee::parser::Parser;

/// The families of a user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agent {
    /// The browser, such as `Firefox`.
    pub browser: &'static str,
    /// The operating system, such as `Android`.
    pub system: &'static str,
    /// `desktop`, `mobile`, `tablet` or `console`.
    pub device: &'static str,
    /// Whether no person is behind it.
    pub bot: bool,
}

/// What stands where nothing is known.
const UNKNOWN: &str = "(unknown)";

/// Words that crawlers, link previews and monitors have in their name. HTTP libraries are not among them: a
/// person, or an app in a person's name, may well follow a link with one, and a click limit must hold for it.
const BOT_WORDS: [&str; 24] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "preview",
    "facebookexternalhit",
    "facebookcatalog",
    "meta-external",
    "whatsapp",
    "telegram",
    "skypeuri",
    "embedly",
    "quora link",
    "vkshare",
    "flipboardproxy",
    "w3c_validator",
    "ia_archiver",
    "mediapartners",
    "lighthouse",
    "scrapy",
    "claude-user",
    "chatgpt-user",
    "perplexity",
    "uptime",
];

/// Whether a user agent is a program that follows links by itself.
#[must_use]
pub fn is_bot(user_agent: &str) -> bool {
    let text = user_agent.as_bytes();
    // A phone of the maker Cubot is none.
    BOT_WORDS.iter().any(|word| {
        let word = word.as_bytes();
        text.windows(word.len()).enumerate().any(|(at, part)| {
            part.eq_ignore_ascii_case(word)
                && !(word == b"bot" && at >= 2 && text[at - 2..at].eq_ignore_ascii_case(b"cu"))
        })
    })
}

impl Agent {
    /// The families of a user agent.
    #[must_use]
    pub fn of(user_agent: &str) -> Self {
        let parsed = Parser::new().parse(user_agent);
        let known = |name: &'static str| match name {
            "" | "UNKNOWN" => UNKNOWN,
            name => name,
        };
        let (browser, system, category) = parsed.map_or((UNKNOWN, UNKNOWN, ""), |parsed| {
            (
                browser_family(parsed.name),
                system_family(parsed.os),
                category(parsed.category),
            )
        });
        Self {
            browser: known(browser),
            system: known(system),
            device: device(user_agent, system, category),
            bot: is_bot(user_agent),
        }
    }
}

/// The parser's words live as long as their input; these are its own, spelt out.
macro_rules! families {
    ($function:ident: $($from:literal => $to:literal),+ $(,)?) => {
        fn $function(name: &str) -> &'static str {
            match name {
                $($from => $to,)+
                _ => UNKNOWN,
            }
        }
    };
}

families!(browser_family:
    "Chrome" => "Chrome", "Firefox" => "Firefox", "Safari" => "Safari", "Edge" => "Edge", "Opera" => "Opera",
    "Vivaldi" => "Vivaldi", "SamsungBrowser" => "Samsung Internet", "Yandex Browser" => "Yandex",
    "Internet Explorer" => "Internet Explorer", "Webview" => "Webview", "Sleipnir" => "Sleipnir",
    "Google Search App" => "Google app",
);

families!(system_family:
    "Android" => "Android", "iPhone" => "iOS", "iPad" => "iPadOS", "iPod" => "iOS", "iOS" => "iOS",
    "Mac OSX" => "macOS", "Mac OS Classic" => "macOS", "Linux" => "Linux", "ChromeOS" => "ChromeOS",
    "BSD" => "BSD", "Windows UNKNOWN Ver" => "Windows", "Windows 10" => "Windows", "Windows 8.1" => "Windows",
    "Windows 8" => "Windows", "Windows 7" => "Windows", "Windows Vista" => "Windows", "Windows XP" => "Windows",
    "Windows 2000" => "Windows", "Windows NT 4.0" => "Windows", "Windows 98" => "Windows",
    "Windows 95" => "Windows", "Windows Me" => "Windows", "Windows CE" => "Windows",
    "Windows Phone OS" => "Windows Phone", "Firefox OS" => "Firefox OS", "BlackBerry" => "BlackBerry",
    "BlackBerry 10" => "BlackBerry", "PlayStation 3" => "PlayStation", "PlayStation 4" => "PlayStation",
    "PlayStation Vita" => "PlayStation", "PlayStation Portable" => "PlayStation", "Xbox One" => "Xbox",
    "Xbox 360" => "Xbox", "Nintendo Wii" => "Nintendo", "Nintendo DSi" => "Nintendo", "Nintendo 3DS" => "Nintendo",
);

families!(category:
    "pc" => "pc", "smartphone" => "smartphone", "mobilephone" => "mobilephone", "appliance" => "appliance",
    "crawler" => "crawler",
);

fn device(user_agent: &str, system: &str, category: &str) -> &'static str {
    match (system, category) {
        ("iPadOS", _) => "tablet",
        // A tablet with Android leaves this word out: https://developer.chrome.com/docs/multidevice/user-agent
        ("Android", _) if !user_agent.contains("Mobile") => "tablet",
        (_, "pc") => "desktop",
        (_, "smartphone" | "mobilephone") => "mobile",
        (_, "appliance") => "console",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::{Agent, is_bot};

    #[test]
    fn the_common_browsers_are_told_apart() {
        let rows = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome",
                "Windows",
                "desktop",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                "Edge",
                "Windows",
                "desktop",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox",
                "Linux",
                "desktop",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
                "Safari",
                "macOS",
                "desktop",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari",
                "iOS",
                "mobile",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari",
                "iPadOS",
                "tablet",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome",
                "Android",
                "mobile",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome",
                "Android",
                "tablet",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome",
                "ChromeOS",
                "desktop",
            ),
            ("nothing that is known", "(unknown)", "(unknown)", "(unknown)"),
        ];
        for (text, browser, system, device) in rows {
            let agent = Agent::of(text);
            assert_eq!(
                (agent.browser, agent.system, agent.device),
                (browser, system, device),
                "{text}"
            );
            assert!(!agent.bot, "{text}");
        }
    }

    #[test]
    fn programs_are_not_people() {
        for text in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "facebookexternalhit/1.1",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "WhatsApp/2.23.20.0",
            "TelegramBot (like TwitterBot)",
            "Mozilla/5.0 (compatible; YandexBot/3.0)",
        ] {
            assert!(is_bot(text) && Agent::of(text).bot, "{text}");
        }
        for text in ["", "curl/8.5.0", "python-requests/2.32", "Go-http-client/2.0"] {
            assert!(!is_bot(text) && !Agent::of(text).bot, "{text}");
        }
        assert!(!is_bot(
            "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36"
        ));
    }
}
