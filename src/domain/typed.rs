//! URLs as people type and paste them: destinations, and short URLs with something behind them.

use super::Slug;

/// Characters that take no room of their own and that pasting brings along: marks of direction, joiners, the byte order
/// mark, the soft hyphen.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

/// The text without white space, line breaks and invisible characters at its ends. A URL has none of them there.
#[must_use]
pub fn trim_invisible(text: &str) -> &str {
    text.trim_matches(is_invisible)
}

/// The text without what it was pasted in as well: `<` and `>`, or quotes (RFC 3986, appendix C).
fn unwrapped(text: &str) -> &str {
    let text = trim_invisible(text);
    [
        ('<', '>'),
        ('"', '"'),
        ('\u{201c}', '\u{201d}'),
        ('\u{ab}', '\u{bb}'),
    ]
    .into_iter()
    .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close))
    .map_or(text, trim_invisible)
}

/// The target that was typed, with `scheme` before it if it is a host and what follows one, such as `example.org/page` or
/// `localhost:8080`. What no host begins is left as it is.
#[must_use]
pub fn typed_target(typed: &str, scheme: &str) -> String {
    let text = unwrapped(typed);
    if begins_with_host(text) {
        format!("{scheme}://{text}")
    } else {
        text.to_owned()
    }
}

/// Whether a host stands first. A scheme has a colon behind it as well, but no port.
fn begins_with_host(text: &str) -> bool {
    let authority = text.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let has_path = text[authority.len()..].starts_with('/');
    match authority.rsplit_once(':') {
        None => authority.contains('.') || (has_path && !authority.is_empty()),
        Some((host, port)) => {
            let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let is_host = host.contains('.') || host == "localhost" || has_path;
            is_port && is_host && !host.is_empty() && !host.contains(':') || authority.starts_with('[')
        }
    }
}

/// A slug in a path that is none itself, because something stands behind it that no slug holds: a slash, the full stop or
/// the bracket of a sentence, white space, letters of a script that sets no spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedSlug {
    /// The slug.
    pub slug: Slug,
    /// Whether the link's preview is meant: a `+` stands behind the slug.
    pub preview: bool,
    /// A query string that stands behind `&`, as if there were a `?` before it; mostly empty.
    pub query: String,
}

impl TypedSlug {
    /// Reads a path whose percent-encoding is decoded, but for `%25`, `%2B` and `%2F`, which routers leave. `None` if the
    /// path goes on with characters of a slug behind others.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = decoded(path);
        let text = path.trim_start_matches('/');
        let end = text.find(|c| !Slug::may_hold(c)).unwrap_or(text.len());
        let (slug, rest) = text.split_at(end);
        let query = match rest.strip_prefix('&') {
            Some(query) if query.contains(Slug::may_hold) => query,
            _ if rest.contains(Slug::may_hold) => return None,
            _ => "",
        };
        Some(Self {
            slug: slug.parse().ok()?,
            preview: rest.starts_with('+'),
            query: query.to_owned(),
        })
    }
}

/// What routers leave percent-encoded. Each is decoded once.
fn decoded(path: &str) -> String {
    [
        ("%2B", "+"),
        ("%2b", "+"),
        ("%2F", "/"),
        ("%2f", "/"),
        ("%25", "%"),
    ]
    .into_iter()
    .fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::{TypedSlug, trim_invisible, typed_target};

    #[test]
    fn what_no_slug_holds_is_taken_from_its_end() {
        let read = |path: &str| {
            TypedSlug::of_path(path).map(|typed| (typed.slug.to_string(), typed.preview, typed.query))
        };
        let plain = |path: &str| {
            assert_eq!(
                read(path),
                Some(("Abc-1_".to_owned(), false, String::new())),
                "{path:?}"
            )
        };
        for behind in [
            "/", "//", ".", ",", ")", ";", "!", "?", "'", "\"", ">", " ", "\n", "\u{a0}", "\u{200b}", ").",
            "/.", "...", "]", "\u{201d}", "。", "です", "%", "%25", "%2F", "&", "*", "**",
        ] {
            plain(&format!("/Abc-1_{behind}"));
        }
        plain("//Abc-1_");
        plain("/Abc-1_");
        for preview in ["/abc+", "/abc%2B", "/abc%2b", "/abc+.", "/abc%2B/"] {
            assert_eq!(
                read(preview),
                Some(("abc".to_owned(), true, String::new())),
                "{preview}"
            );
        }
        assert_eq!(
            read("/abc&utm_source=x&y=1"),
            Some(("abc".to_owned(), false, "utm_source=x&y=1".to_owned()))
        );
        let long = format!("/{}.", "a".repeat(65));
        for none in [
            "/",
            "",
            "/.",
            "/a.b",
            "/a/b",
            "/abc.html",
            "/abc%20x",
            "/.abc",
            "/%2520",
            "/abc%2520",
            "/é",
            &long,
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn invisible_characters_go_from_both_ends_and_stay_within() {
        for around in [
            " ",
            "\n",
            "\r\n",
            "\t",
            "\u{a0}",
            "\u{feff}",
            "\u{200b}",
            "\u{200d}",
            "\u{200e}",
            "\u{2060}",
            "\u{ad}",
            "\u{2028}",
            "\u{85}",
            "\u{3000}",
            "\u{feff} \n",
        ] {
            assert_eq!(
                trim_invisible(&format!("{around}a{around}b{around}")),
                format!("a{around}b")
            );
        }
        assert_eq!(trim_invisible("\u{200b}"), "");
        assert_eq!(trim_invisible("\0a\u{1b}"), "\0a\u{1b}");
    }

    #[test]
    fn a_host_without_a_scheme_gets_one_and_nothing_else_does() {
        for typed in [
            "example.org",
            "example.org/a:b",
            "example.org:8080/x",
            "example.org:8080",
            "example.org?x=1",
            "localhost/x",
            "localhost:3000",
            "intranet:8080/x",
            "münchen.example/straße",
            "192.0.2.1:80/x",
            "[2001:db8::1]:8443/x",
        ] {
            assert_eq!(typed_target(typed, "https"), format!("https://{typed}"));
        }
        for typed in [
            "https://example.org/",
            "HTTPS:example.org",
            "javascript:alert(1)",
            "mailto:a@example.org",
            "tel:110",
            "tel:+110",
            "example.org:port/x",
            "/path",
            "?q",
            "#f",
            "word",
            "",
        ] {
            assert_eq!(typed_target(typed, "https"), typed);
        }
    }

    #[test]
    fn what_an_address_was_pasted_in_is_taken_off() {
        for typed in [
            "<https://example.org/>",
            " \"https://example.org/\"\n",
            "\u{201c}https://example.org/\u{201d}",
            "\u{feff}< https://example.org/ >",
        ] {
            assert_eq!(typed_target(typed, "https"), "https://example.org/", "{typed}");
        }
        assert_eq!(typed_target("<example.org>", "http"), "http://example.org");
        assert_eq!(typed_target("<example.org", "http"), "http://<example.org");
    }
}
