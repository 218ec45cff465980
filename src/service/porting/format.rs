//! The forms in which links come, and how they are told apart.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

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
        let header = text.lines().find(|line| !line.trim().is_empty())?;
        let names: Vec<String> = header.split(',').map(plain).collect();
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
