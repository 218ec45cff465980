//! Which user agents are programs that follow links by themselves: crawlers, link previews, feed readers, monitors.
//!
//! A browser begins with `Mozilla/` (RFC 9110, section 10.1.5, and every browser since). A program that names itself in
//! another way is one, and so is a browser's name with a contact in it, or `compatible;` before a name that is no browser's.
//! HTTP libraries are people: a person, or an app in a person's name, may well follow a link with one, and a click limit
//! must hold for it. The list of crawler user agents in `tests/it/agents` says how many this finds.

/// Words that only the names of programs have, in lower case. The browsers within apps have the app's name, so no app is
/// among these.
const WORDS: [&str; 49] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "preview",
    "scraper",
    "scraping",
    "scrapy",
    "fetcher",
    "monitor",
    "synthetic",
    "headless",
    "facebookexternalhit",
    "facebookcatalog",
    "meta-external",
    "skypeuri",
    "embedly",
    "quora link",
    "vkshare",
    "flipboardproxy",
    "imageproxy",
    "w3c_validator",
    "ia_archiver",
    "mediapartners",
    "lighthouse",
    "claude-user",
    "chatgpt-user",
    "uptime",
    "pingdom",
    "statuscake",
    "site24x7",
    "thousandeyes",
    "appinsights",
    "siteimprove",
    "netcraft",
    "gtmetrix",
    "ghost inspector",
    "linkcheck",
    "phantomjs",
    "playwright",
    "puppeteer",
    "selenium",
    "ptst/",
    "google-inspectiontool",
    "google favicon",
    "outbrain",
    "zgrab",
    "nikto",
    "acunetix",
];

/// What HTTP libraries, and browsers that do not begin with `Mozilla/`, begin with. Two of the libraries have the URL of
/// their own project in it.
const LIBRARIES: [&str; 48] = [
    "curl",
    "Wget",
    "python-requests/",
    "Python-urllib/",
    "Python/",
    "python-httpx/",
    "libwww-perl/",
    "lwp-trivial/",
    "LWP::Simple/",
    "Go-http-client/",
    "okhttp/",
    "AHC/",
    "Apache-HttpClient/",
    "Apache-HttpAsyncClient/",
    "Jetty/",
    "Jersey/",
    "Java/",
    "Java-http-client/",
    "Dalvik/",
    "axios/",
    "node",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
    "got (https://github.com/sindresorhus/got)",
    "undici",
    "Deno/",
    "Bun/",
    "Dart/",
    "HTTPie/",
    "PHP-Curl-Class/",
    "GuzzleHttp/",
    "Ruby",
    "Faraday",
    "RestSharp",
    "PostmanRuntime/",
    "insomnia/",
    "reqwest",
    "ureq/",
    "Opera/",
    "Lynx/",
    "Links ",
    "ELinks",
    "w3m/",
    "NetSurf/",
    "UCWEB/",
    "Nokia",
    "SAMSUNG",
    "SonyEricsson",
    "BlackBerry",
];

/// The library of Apple's systems, which stands behind the name of the app that uses it.
const APPLE: &str = "CFNetwork/";

/// Browsers that say `compatible;` of themselves.
const COMPATIBLE: [&str; 5] = ["msie", "konqueror", "icab", "omniweb", "opera"];

/// Whether a user agent is a program that follows links by itself. An empty one is a person who hides it.
#[must_use]
pub fn is_bot(user_agent: &str) -> bool {
    let text = user_agent.trim();
    if text.is_empty() {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    if has_word(&lower) {
        return true;
    }
    if text.starts_with("Mozilla/") {
        return has_contact(&lower) || is_compatible_program(&lower);
    }
    let is_library = |name: &&str| text.strip_prefix(*name).is_some_and(|rest| !has_contact(rest));
    let is_of_apple = text.contains(APPLE) && !has_contact(&lower);
    !is_of_apple && !LIBRARIES.iter().any(is_library)
}

fn has_word(lower: &str) -> bool {
    // The phones of the maker Cubot have a word that is none.
    WORDS.iter().any(|word| {
        lower
            .match_indices(word)
            .any(|(at, _)| !(*word == "bot" && lower[..at].ends_with("cu")))
    })
}

/// Where to complain, as RFC 9110 asks robots to say. No browser does.
fn has_contact(text: &str) -> bool {
    ["http://", "https://", "+http", "mailto:"]
        .iter()
        .any(|mark| text.contains(mark))
}

fn is_compatible_program(lower: &str) -> bool {
    lower.match_indices("compatible;").any(|(at, mark)| {
        let name = lower[at + mark.len()..].trim_start();
        !COMPATIBLE.iter().any(|browser| name.starts_with(browser))
    })
}

#[cfg(test)]
mod tests {
    use super::is_bot;

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
            "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)",
            "http.rb/5.1.1 (Mastodon/4.2.8; +https://mastodon.example/)",
            "Mastodon/4.4.0 (http.rb/5.2.0; +https://mastodon.example/)",
            "Lemmy/0.19.8; +https://lemmy.example",
            "Misskey/2024.3.1 (https://misskey.example)",
            "Pleroma 2.6.2; https://pleroma.example <admin@pleroma.example>",
            "Akkoma 3.10.4-0; https://akkoma.example <admin@akkoma.example>",
            "Friendica 'Yellow Archangel' 2024.03-1556; https://friendica.example",
            "Iframely/1.3.1 (+https://iframely.com/docs/about)",
            "OpenGraph.io/1.1",
            "Viber/13.3.0.5",
            "Mozilla/5.0 (compatible; XING-contenttabreceiver/2.0)",
            "Tumblr/14.0.835.186",
            "GoogleOther",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0 Mobile Safari/537.36 (compatible; GoogleOther)",
            "Mozilla/5.0 (compatible; Google-InspectionTool/1.0)",
            "Feedfetcher-Google; (+http://www.google.com/feedfetcher.html; 1 subscribers)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/129.0 Safari/537.36",
            "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
            "Mozilla/5.0 (Windows NT 6.2; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/98.0 Safari/537.36 StatusCake",
            "Site24x7",
            "Amazon-Route53-Health-Check-Service (ref 1; report http://amzn.to/1vsZADi)",
            "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Perplexity-User/1.0; +https://perplexity.ai/perplexity-user)",
            "python-requests/2.31 (+https://scanner.example/)",
        ] {
            assert!(is_bot(text), "{text}");
        }
    }

    #[test]
    fn libraries_are_people_and_so_is_an_empty_user_agent() {
        for text in [
            "",
            " ",
            "curl/8.5.0",
            "Wget/1.21",
            "python-requests/2.32",
            "Go-http-client/2.0",
            "okhttp/4.12.0",
            "node",
            "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
            "got (https://github.com/sindresorhus/got)",
            "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A)",
            "MyApp/3.1 CFNetwork/1485 Darwin/23.1.0",
            "ureq/3.0.0",
        ] {
            assert!(!is_bot(text), "{text}");
        }
    }

    /// The word `telegram`, `whatsapp` or `perplexity` anywhere made a preview of a person.
    #[test]
    fn browsers_within_apps_are_people() {
        const ANDROID: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/129.0.0.0 Mobile Safari/537.36";
        const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";
        for (base, app) in [
            (
                ANDROID,
                "Telegram-Android/11.2.1 (Samsung SM-S921B; Android 14; SDK 34; HIGH)",
            ),
            (IPHONE, "Telegram-iOS/11.2"),
            (ANDROID, "WhatsApp/2.24.20"),
            (ANDROID, "Perplexity/2.30"),
            (
                ANDROID,
                "Instagram 406.0.0.58.159 Android (35/15; 480dpi; 1080x2400)",
            ),
            (
                IPHONE,
                "Instagram 350.0.0.29.97 (iPhone15,2; iOS 18_0; en_US; en; scale=3.00)",
            ),
            (ANDROID, "[FB_IAB/FB4A;FBAV/480.0.0.54.88;]"),
            (
                IPHONE,
                "[FBAN/FBIOS;FBAV/480.0.0;FBDV/iPhone15,2;FBLC/en_US@calendar=gregorian]",
            ),
            (ANDROID, "MetaIAB Facebook"),
            (ANDROID, "trill_350 BytedanceWebview/d8a21c6 musical_ly_2023"),
            (IPHONE, "Safari Line/14.15.0"),
            (ANDROID, "KAKAOTALK/25.9.0 (INAPP)"),
            (ANDROID, "NAVER(inapp; search; 1000; 12.5.5)"),
            (
                IPHONE,
                "MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/en",
            ),
            (IPHONE, "Snapchat/13.1.0.46 (like Safari/8617, panda)"),
            (ANDROID, "[Pinterest/Android]"),
            (IPHONE, "LinkedInApp/9.30"),
            (IPHONE, "Twitter for iPhone/10.58"),
            (ANDROID, "DuckDuckGo/5"),
            (IPHONE, "GSA/340.0 Safari/604.1"),
            (IPHONE, "Viber/23.5"),
        ] {
            let text = format!("{base} {app}");
            assert!(!is_bot(&text), "{text}");
        }
        for text in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) discord/1.0.9168 Chrome/128.0 Electron/32.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.41 Chrome/130.0 Electron/33.0 Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36",
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
            "Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5.4 (like Gecko)",
            "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1; U; en) Presto/2.8.119 Version/11.10",
            "Lynx/2.9.0 libwww-FM/2.14",
        ] {
            assert!(!is_bot(text), "{text}");
        }
    }
}
