//! A line of a block list, in the forms in which public lists come: names, hosts files, rules of ad blockers, URLs.

use std::net::IpAddr;

use url::Url;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BlockRule<'a> {
    /// Block these domains; none if the line is a comment.
    Domains(Vec<&'a str>),
    /// Something else than to block a whole domain: an exception, a part of a page, a single page.
    Other,
}

/// Names that every hosts file has for the machine itself.
const OWN_NAMES: [&str; 5] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "0.0.0.0",
];

/// What stands between a domain and a rule for a part of its pages.
const ELEMENT_RULES: [&str; 5] = ["##", "#@#", "#?#", "#$#", "#%#"];

/// Options with which a rule of an ad blocker still blocks the domain itself.
const WHOLE: [&str; 5] = ["all", "document", "doc", "important", "popup"];

impl<'a> BlockRule<'a> {
    /// Reads a line. What is no name is left for the parser of names to refuse.
    pub(super) fn read(line: &'a str) -> Self {
        let line = super::trim_invisible(line);
        let nothing = || Self::Domains(Vec::new());
        if line.starts_with(['!', ';']) || is_heading(line) {
            return nothing();
        }
        let Some(line) = without_comment(line) else {
            return Self::Other;
        };
        if line.starts_with("@@") || line.starts_with('/') {
            return Self::Other;
        }
        if let Some(rule) = line.strip_prefix("||") {
            return whole_domain(rule).map_or(Self::Other, |domain| Self::Domains(vec![domain]));
        }
        if line.starts_with('|') {
            return Self::Other;
        }
        let words = line.split(|c: char| c == ',' || c.is_whitespace());
        let words: Vec<&str> = words
            .filter(|word| !word.is_empty())
            .take_while(|word| !word.starts_with(';'))
            .collect();
        let domains: Option<Vec<&str>> = names(&words).iter().map(|word| host_of(word)).collect();
        domains.map_or(Self::Other, Self::Domains)
    }
}

/// `[Adblock Plus 2.0]`, but no IPv6 address.
fn is_heading(line: &str) -> bool {
    let inner = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<IpAddr>().is_err())
}

/// The line before its comment; `None` if it is a rule for a part of a page, which has the same sign.
fn without_comment(line: &str) -> Option<&str> {
    let Some(at) = line.find('#') else {
        return Some(line);
    };
    let before = &line[..at];
    let is_rule = !before.is_empty()
        && !before.ends_with(char::is_whitespace)
        && ELEMENT_RULES.iter().any(|mark| line[at..].starts_with(mark));
    (!is_rule).then(|| before.trim_end())
}

/// The domain of a rule such as `evil.example^$all`, if it blocks the whole of it.
fn whole_domain(rule: &str) -> Option<&str> {
    let (rule, options) = rule.split_once('$').unwrap_or((rule, ""));
    let domain = rule
        .strip_suffix("^|")
        .or_else(|| rule.strip_suffix('^'))
        .unwrap_or(rule);
    let is_whole = options.is_empty() || options.split(',').all(|option| WHOLE.contains(&option));
    (is_whole && !domain.contains(['/', '^', ' '])).then_some(domain)
}

/// The names of a line of a hosts file without its address, or all words.
fn names<'a>(words: &[&'a str]) -> Vec<&'a str> {
    match words {
        [address, names @ ..] if !names.is_empty() && is_nowhere(address) => names
            .iter()
            .filter(|name| !OWN_NAMES.contains(name) && !name.starts_with("ip6-"))
            .copied()
            .collect(),
        _ => words.to_vec(),
    }
}

/// Whether an address stands in a hosts file to lead nowhere, or to the machine itself.
fn is_nowhere(word: &str) -> bool {
    let bare = word.split('%').next().unwrap_or_default();
    match bare.parse() {
        Ok(IpAddr::V4(address)) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_broadcast()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
        }
        Err(_) => false,
    }
}

/// The host of a URL that names nothing else, or the word itself; `None` for the URL of a page.
fn host_of(word: &str) -> Option<&str> {
    let Some((_, rest)) = word.split_once("://") else {
        return Some(word);
    };
    let url = Url::parse(word).ok()?;
    let is_host_alone = url.path() == "/" && url.query().is_none() && url.port().is_none();
    is_host_alone.then(|| rest.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::BlockRule;

    #[test]
    fn the_forms_of_public_lists_are_read() {
        for (line, domains) in [
            (
                "evil.example, bad.example worse.example",
                vec!["evil.example", "bad.example", "worse.example"],
            ),
            ("evil.example # why", vec!["evil.example"]),
            ("evil.example ; why", vec!["evil.example"]),
            ("0.0.0.0 evil.example", vec!["evil.example"]),
            (
                "127.0.0.1\tevil.example bad.example",
                vec!["evil.example", "bad.example"],
            ),
            ("::1 evil.example", vec!["evil.example"]),
            ("||evil.example^", vec!["evil.example"]),
            ("||evil.example^$all,important", vec!["evil.example"]),
            ("||evil.example", vec!["evil.example"]),
            ("http://evil.example/", vec!["evil.example"]),
            ("https://evil.example", vec!["evil.example"]),
            ("9.9.9.9 evil.example", vec!["9.9.9.9", "evil.example"]),
            ("127.0.0.1", vec!["127.0.0.1"]),
            ("[2001:db8::1]", vec!["[2001:db8::1]"]),
        ] {
            assert_eq!(BlockRule::read(line), BlockRule::Domains(domains), "{line}");
        }
        for comment in [
            "",
            "  ",
            "\u{feff}",
            "# evil.example",
            "! Title: a list",
            "; com",
            "[Adblock Plus 2.0]",
            "::1 localhost",
            "fe80::1%lo0 localhost",
            "ff02::1 ip6-allnodes",
            "255.255.255.255 broadcasthost",
            "0.0.0.0 0.0.0.0",
        ] {
            assert_eq!(BlockRule::read(comment), BlockRule::Domains(vec![]), "{comment}");
        }
        for other in [
            "@@||good.example^",
            "||evil.example^$third-party",
            "||evil.example/ads/",
            "|https://evil.example/",
            "good.example##.banner",
            "good.example#@#.banner",
            "/banner[0-9]+/",
            "http://evil.example/a.exe",
            "https://evil.example:8443/",
        ] {
            assert_eq!(BlockRule::read(other), BlockRule::Other, "{other}");
        }
    }
}
