//! The forms in which links come, and how they are told apart.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::dialect::Dialect;

/// Whose form it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Our own, a JSON object a line.
    Ndjson,
    /// Our own, as CSV.
    Csv,
    /// Answers of YOURLS' `stats`, or its table as CSV.
    Yourls,
    /// Answers of Shlink's list of short URLs, or its web client's CSV.
    Shlink,
    /// Answers of Kutt's list of links.
    Kutt,
    /// Bitly's CSV.
    Bitly,
}

/// A text that is no format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of ndjson, csv, yourls, shlink, kutt, bitly")]
pub struct UnknownFormat;

impl Format {
    /// The format's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Yourls => "yourls",
            Self::Shlink => "shlink",
            Self::Kutt => "kutt",
            Self::Bitly => "bitly",
        }
    }

    /// Whether it is our own.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Ndjson | Self::Csv)
    }

    /// The format of what begins with `head`: by names that only one of them uses.
    pub(super) fn guess(head: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(head);
        let has = |name: &str| text.contains(&format!("\"{name}\""));
        if Carrier::of(head) == Carrier::Documents {
            return if has("shortCode") || has("shortUrls") {
                Some(Self::Shlink)
            } else if has("visit_count") || (has("address") && has("target")) {
                Some(Self::Kutt)
            } else if has("shorturl") || has("keyword") {
                Some(Self::Yourls)
            } else if has("slug") && has("url") {
                Some(Self::Ndjson)
            } else {
                None
            };
        }
        let names: Vec<String> = Dialect::of(head).names().map(plain).collect();
        let has = |name: &str| names.iter().any(|found| found == name);
        if has("slug") && has("url") {
            Some(Self::Csv)
        } else if has("keyword") && has("url") {
            Some(Self::Yourls)
        } else if has("longurl") && has("shorturl") && has("visits") {
            Some(Self::Shlink)
        } else if super::peers::is_bitly(&names) {
            Some(Self::Bitly)
        } else {
            None
        }
    }

    /// The column, or one of several, that a table of this format needs and does not have among `names`.
    pub(super) fn missing_column(self, names: &[String]) -> Option<&'static str> {
        let needed: &[&[&'static str]] = match self {
            Self::Ndjson | Self::Csv => &[&["slug"], &["url"]],
            Self::Yourls => &[&["keyword", "shorturl"], &["url"]],
            Self::Shlink => &[&["shortcode", "shorturl"], &["longurl"]],
            Self::Kutt => &[&["address"], &["target"]],
            Self::Bitly if super::peers::is_bitly(names) => &[],
            Self::Bitly => return Some("link"),
        };
        let is_missing = |column: &&&[&str]| !names.iter().any(|name| column.contains(&name.as_str()));
        needed.iter().find(is_missing).map(|column| column[0])
    }

    /// Whether an object has any field that a link of this format has: the dumps of databases hold others.
    pub(super) fn is_link(self, object: &Map<String, Value>) -> bool {
        let names: &[&str] = match self {
            Self::Ndjson | Self::Csv => &["slug", "url"],
            Self::Yourls => &["keyword", "shorturl", "url"],
            Self::Shlink => &["shortCode", "shortUrl", "longUrl"],
            Self::Kutt => &["address", "target"],
            Self::Bitly => return true,
        };
        names.iter().any(|name| object.contains_key(*name))
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Ok(match text {
            "ndjson" => Self::Ndjson,
            "csv" => Self::Csv,
            "yourls" => Self::Yourls,
            "shlink" => Self::Shlink,
            "kutt" => Self::Kutt,
            "bitly" => Self::Bitly,
            _ => return Err(UnknownFormat),
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A column's name with nothing but its letters and digits.
pub(super) fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// What carries the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// JSON documents, one after the other.
    Documents,
    /// A table with a header.
    Table,
}

impl Carrier {
    pub(super) fn of(head: &[u8]) -> Self {
        match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Self::Documents,
            _ => Self::Table,
        }
    }
}

/// Whether JSON is a document, in an array, in a wrapper or spread over lines, and not an object a line.
pub(super) fn is_document(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let mut lines = text
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let Some(first) = lines.next() else { return false };
    let wraps = first.strip_prefix('{').is_some_and(|rest| {
        let rest = rest.trim_start().strip_prefix("\"links\"");
        rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
    });
    if first.starts_with('[') || wraps {
        return true;
    }
    // An object that goes on in the next line begins a field there; a line of its own begins another object.
    serde_json::from_str::<IgnoredAny>(first).is_err()
        && lines
            .next()
            .is_some_and(|second| second.starts_with(['"', '}', ']']))
}

#[cfg(test)]
mod tests {
    use super::is_document;

    #[test]
    fn white_space_between_the_tokens_of_json_decides_nothing() {
        for document in [
            "[{\"slug\":\"a\"}]",
            "  [\n{",
            "{\"links\":[]}",
            "{ \"links\" : [",
            "{\n  \"links\": [\n",
            "{\n \"slug\": \"a\",\n",
            "{ \"slug\": \"a\",\r\n  \"url\": \"b\" }",
            "{\n}",
        ] {
            assert!(is_document(document.as_bytes()), "{document}");
        }
        for lines in [
            "",
            "{\"slug\":\"a\"}",
            "{\"slug\":\"a\"}\n{\"slug\":\"b\"}\n",
            "\n{\"slug\":\"bad\",\"url\":\n{\"slug\":\"b\"}",
            "{\"slug\":\"cut",
            "{\"slug\":\"links\",\"url\":\"x\"}",
        ] {
            assert!(!is_document(lines.as_bytes()), "{lines}");
        }
    }
}
