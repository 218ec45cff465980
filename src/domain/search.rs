//! What people type to find a link, and how it is spelled in what is stored.

use url::{Host, Url};

use super::{Slug, TypedSlug, trim_invisible};

/// A text that is looked for in links: a part of a slug, a destination or a title. Destinations are stored serialised, with
/// punycode and percent-encoding, so the text is looked for in those spellings too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText {
    typed: String,
    spellings: Vec<String>,
    slug: Option<Slug>,
}

impl SearchText {
    /// The most spellings beside the typed one.
    pub const MAX_SPELLINGS: usize = 3;

    /// Reads what was typed, without invisible characters at its ends; `None` if nothing is left. `is_own` is whether a host
    /// is one of the service's own.
    pub fn read(text: &str, is_own: impl Fn(&str) -> bool) -> Option<Self> {
        let typed = trim_invisible(text);
        if typed.is_empty() {
            return None;
        }
        let mut spellings: Vec<String> = Vec::new();
        let found = [
            Some(encoded(typed)),
            Some(encoded(&typed.to_lowercase())),
            serialised(typed),
        ];
        for spelling in found.into_iter().flatten() {
            if !spelling.eq_ignore_ascii_case(typed) && !spellings.contains(&spelling) {
                spellings.push(spelling);
            }
        }
        Some(Self {
            typed: typed.to_owned(),
            spellings,
            slug: slug_of(typed, is_own),
        })
    }

    /// The text as it was typed.
    #[must_use]
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Other spellings that it may have in a destination, at most [`SearchText::MAX_SPELLINGS`].
    #[must_use]
    pub fn spellings(&self) -> &[String] {
        &self.spellings
    }

    /// The slug, if the text is a short URL of the service, or its path.
    #[must_use]
    pub fn slug(&self) -> Option<&Slug> {
        self.slug.as_ref()
    }
}

impl From<&str> for SearchText {
    /// A text as it stands.
    fn from(text: &str) -> Self {
        Self {
            typed: text.to_owned(),
            spellings: Vec::new(),
            slug: None,
        }
    }
}

/// The text as it stands in a serialised path or query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The text as it stands in a serialised URL, if it begins with a host that is not spelled in ASCII.
fn serialised(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let has_scheme = text.contains("://");
    let url = if has_scheme {
        Url::parse(text)
    } else {
        Url::parse(&format!("https://{text}"))
    }
    .ok()?;
    matches!(url.host()?, Host::Domain(_)).then(|| {
        let url = if has_scheme {
            url.as_str()
        } else {
            without_scheme(url.as_str())
        };
        let added = if text.ends_with('/') {
            None
        } else {
            url.strip_suffix('/')
        };
        added.unwrap_or(url).to_owned()
    })
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn slug_of(text: &str, is_own: impl Fn(&str) -> bool) -> Option<Slug> {
    let url = without_scheme(text).split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = url.split_once('/')?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    (authority.is_empty() || is_own(host))
        .then(|| TypedSlug::of_path(path))?
        .map(|typed| typed.slug)
}

#[cfg(test)]
mod tests {
    use super::SearchText;

    fn read(text: &str) -> SearchText {
        SearchText::read(text, |host| host.eq_ignore_ascii_case("go.short.example")).unwrap()
    }

    #[test]
    fn a_text_is_looked_for_as_it_is_stored_too() {
        for (text, spellings) in [
            ("example", vec![]),
            ("example.org/Path?x=1", vec![]),
            ("2026", vec![]),
            ("a b", vec!["a%20b"]),
            ("münchen", vec!["m%C3%BCnchen", "xn--mnchen-3ya"]),
            ("MÜNCHEN", vec!["M%C3%9CNCHEN", "m%C3%BCnchen", "xn--mnchen-3ya"]),
            (
                "https://münchen.example/straße",
                vec![
                    "https://m%C3%BCnchen.example/stra%C3%9Fe",
                    "https://xn--mnchen-3ya.example/stra%C3%9Fe",
                ],
            ),
            (
                "münchen.example/straße/",
                vec![
                    "m%C3%BCnchen.example/stra%C3%9Fe/",
                    "xn--mnchen-3ya.example/stra%C3%9Fe/",
                ],
            ),
        ] {
            assert_eq!(read(text).spellings(), spellings, "{text}");
        }
        assert_eq!(read(" \u{200b}c1pc\n").typed(), "c1pc");
        assert_eq!(SearchText::read(" \u{feff} ", |_| true), None);
    }

    #[test]
    fn a_short_url_of_the_service_is_its_slug() {
        for text in [
            "https://go.short.example/c1pb",
            "go.short.example/c1pb",
            "GO.short.example:8443/c1pb?x=1",
            "/c1pb",
            "https://go.short.example/c1pb/",
            "https://go.short.example/c1pb+",
        ] {
            assert_eq!(
                read(text).slug().map(|slug| slug.as_str()),
                Some("c1pb"),
                "{text}"
            );
        }
        for text in [
            "c1pb",
            "https://example.org/c1pb",
            "go.short.example",
            "https://go.short.example/",
            "/a/b",
        ] {
            assert_eq!(read(text).slug(), None, "{text}");
        }
    }
}
