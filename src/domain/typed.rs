//! URLs as people type and paste them.

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
    [('<', '>'), ('"', '"'), ('\u{201c}', '\u{201d}'), ('\u{ab}', '\u{bb}')]
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

#[cfg(test)]
mod tests {
    use super::{trim_invisible, typed_target};

    #[test]
    fn invisible_characters_go_from_both_ends_and_stay_within() {
        for around in [
            " ", "\n", "\r\n", "\t", "\u{a0}", "\u{feff}", "\u{200b}", "\u{200d}", "\u{200e}", "\u{2060}", "\u{ad}",
            "\u{2028}", "\u{85}", "\u{3000}", "\u{feff} \n",
        ] {
            assert_eq!(trim_invisible(&format!("{around}a{around}b{around}")), format!("a{around}b"));
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
