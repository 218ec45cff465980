//! `CORS_ORIGINS`: whose pages may read answers.

use url::Url;

use super::{Env, Place};

/// Origins, as browsers write them in the header `Origin`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CorsOrigins {
    /// No other origin than the service's own.
    #[default]
    None,
    /// Every origin.
    Any,
    /// These, such as `https://app.example.com`.
    Listed(Vec<String>),
}

impl CorsOrigins {
    pub(super) fn read(env: &mut Env, place: Place) -> Self {
        let items = env.list("CORS_ORIGINS");
        if items == ["*"] {
            if place.trial {
                env.fault(
                    "CORS_ORIGINS",
                    "must not be * while DATABASE_URL is unset (trial mode needs no key)",
                );
            }
            return Self::Any;
        }
        let mut origins = Vec::new();
        for item in &items {
            match origin(item) {
                Some(origin) => origins.push(origin),
                None => {
                    env.fault(
                        "CORS_ORIGINS",
                        "is not valid: origins such as https://app.example.com, with commas between several, or * alone",
                    );
                    return Self::None;
                }
            }
        }
        if origins.is_empty() {
            return Self::None;
        }
        env.remember("CORS_ORIGINS", Some(origins.join(",")));
        Self::Listed(origins)
    }
}

/// The origin in the form of RFC 6454, section 6.2. Other schemes than those of the web are extensions of browsers.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && !text.contains('*');
    let host = url.host_str().filter(|host| !host.is_empty() && plain)?;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{}{port}", url.scheme(), host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (text, wanted) in [
            ("https://App.example.com", Some("https://app.example.com")),
            ("https://app.example.com:443/", Some("https://app.example.com")),
            ("http://localhost:5173", Some("http://localhost:5173")),
            (
                "https://b\u{fc}cher.example",
                Some("https://xn--bcher-kva.example"),
            ),
            ("chrome-extension://abcdefgh", Some("chrome-extension://abcdefgh")),
            ("https://app.example.com/path", None),
            ("https://*.example.com", None),
            ("https://user@app.example.com", None),
            ("app.example.com", None),
            ("null", None),
            ("data:x", None),
        ] {
            assert_eq!(origin(text).as_deref(), wanted, "{text}");
        }
    }
}
