//! What a `User-Agent` header says, in families. The header itself is never kept.

use super::is_bot;

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

/// Browsers by what their user agents have, the first that fits. Most say that they are others as well: Edge has the
/// words of Chrome, and Chrome those of Safari.
const BROWSERS: [(&str, &str); 21] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("OPiOS/", "Opera"),
    ("Opera", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex"),
    ("Sleipnir/", "Sleipnir"),
    ("GSA/", "Google app"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("; wv)", "Webview"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Systems, in the same way, with their kind of device. Android has the word of Linux, and consoles that of Windows.
const SYSTEMS: [(&str, &str, &str); 20] = [
    ("Xbox", "Xbox", "console"),
    ("PlayStation", "PlayStation", "console"),
    ("PLAYSTATION", "PlayStation", "console"),
    ("Nintendo", "Nintendo", "console"),
    ("Windows Phone", "Windows Phone", "mobile"),
    ("Windows", "Windows", "desktop"),
    ("iPad", "iPadOS", "tablet"),
    ("iPhone", "iOS", "mobile"),
    ("iPod", "iOS", "mobile"),
    ("Android", "Android", "mobile"),
    ("BlackBerry", "BlackBerry", "mobile"),
    ("BB10", "BlackBerry", "mobile"),
    ("(Mobile; rv:", "Firefox OS", "mobile"),
    ("CrOS", "ChromeOS", "desktop"),
    ("Macintosh", "macOS", "desktop"),
    ("Mac OS X", "macOS", "desktop"),
    ("FreeBSD", "BSD", "desktop"),
    ("OpenBSD", "BSD", "desktop"),
    ("NetBSD", "BSD", "desktop"),
    ("Linux", "Linux", "desktop"),
];

impl Agent {
    /// The families of a user agent.
    #[must_use]
    pub fn of(user_agent: &str) -> Self {
        let (system, device) = SYSTEMS
            .iter()
            .find(|(word, ..)| user_agent.contains(word))
            .map_or((UNKNOWN, UNKNOWN), |(_, system, device)| (*system, *device));
        Self {
            browser: browser(user_agent, system),
            system,
            // A tablet with Android leaves this word out: https://developer.chrome.com/docs/multidevice/user-agent
            device: if system == "Android" && !user_agent.contains("Mobile") {
                "tablet"
            } else {
                device
            },
            bot: is_bot(user_agent),
        }
    }
}

fn browser(user_agent: &str, system: &str) -> &'static str {
    if let Some((_, family)) = BROWSERS.iter().find(|(word, _)| user_agent.contains(word)) {
        return family;
    }
    // An app of iOS shows the page by itself, and does not call itself Safari.
    if matches!(system, "iOS" | "iPadOS") && user_agent.contains("AppleWebKit/") {
        return "Webview";
    }
    UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::Agent;

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
            (
                "Mozilla/5.0 (Linux; Android 13; SM-S901B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                "Samsung Internet",
                "Android",
                "mobile",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0.0.0 Mobile Safari/537.36",
                "Webview",
                "Android",
                "mobile",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
                "Webview",
                "iOS",
                "mobile",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0 Mobile/15E148 Safari/604.1",
                "Chrome",
                "iOS",
                "mobile",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
                "Internet Explorer",
                "Windows",
                "desktop",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36 Edge/44.18363",
                "Edge",
                "Xbox",
                "console",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36 OPR/106.0",
                "Opera",
                "Linux",
                "desktop",
            ),
            ("", "(unknown)", "(unknown)", "(unknown)"),
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
}
