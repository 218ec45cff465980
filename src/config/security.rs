//! Whom to tell of a fault or of abuse: `security.txt` (RFC 9116).

use url::Url;

use super::Env;

/// The settings of `security.txt`. Without a contact there is none.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// Where to write to, the best place first: `mailto:`, `https:` or `tel:`.
    pub contacts: Vec<Url>,
    /// The page that tells what is welcome.
    pub policy: Option<Url>,
    /// The languages that are read, such as `en, de`.
    pub languages: Vec<String>,
}

impl Security {
    pub(super) fn read(env: &mut Env) -> Self {
        let mut contacts = Vec::new();
        for text in env.list("SECURITY_CONTACT") {
            match contact(&text) {
                Some(url) => contacts.push(url),
                None => env.fault(
                    "SECURITY_CONTACT",
                    "is not valid: e-mail addresses or URLs that begin with mailto:, https: or tel:, separated by commas",
                ),
            }
        }
        let policy = env
            .text("SECURITY_POLICY")
            .map(|text| Url::parse(&text).ok().filter(|url| url.scheme() == "https"));
        if policy == Some(None) {
            env.fault("SECURITY_POLICY", "is not valid: a URL that begins with https:");
        }
        let languages = env.list("SECURITY_LANGUAGES");
        let tag =
            |text: &String| text.len() <= 35 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !languages.iter().all(tag) {
            env.fault(
                "SECURITY_LANGUAGES",
                "is not valid: language tags separated by commas, such as en,de",
            );
        }
        if contacts.is_empty() && (policy.is_some() || !languages.is_empty()) {
            env.fault(
                "SECURITY_CONTACT",
                "is unset: without it there is no security.txt for the other SECURITY_ settings",
            );
        }
        Self {
            contacts,
            policy: policy.flatten(),
            languages,
        }
    }
}

/// A bare e-mail address is meant as one.
fn contact(text: &str) -> Option<Url> {
    let url = match Url::parse(text) {
        Err(_) if text.contains('@') => Url::parse(&format!("mailto:{text}")),
        parsed => parsed,
    };
    url.ok()
        .filter(|url| matches!(url.scheme(), "mailto" | "https" | "tel"))
}
