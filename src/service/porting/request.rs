//! What an import is asked for, and why it may end early.

use std::str::FromStr;

use super::{Format, Unreadable};
use crate::service::Error;

/// What becomes of a link whose slug is another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is left out, and told.
    #[default]
    Report,
    /// It is left out, and counted.
    Skip,
    /// It takes the other's place.
    Overwrite,
}

/// A text that is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of report, skip, overwrite")]
pub struct UnknownChoice;

impl FromStr for OnConflict {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        Ok(match text {
            "report" => Self::Report,
            "skip" => Self::Skip,
            "overwrite" => Self::Overwrite,
            _ => return Err(UnknownChoice),
        })
    }
}

/// How links shall be taken.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Whose form they have; `None` is guessed.
    pub format: Option<Format>,
    /// What to do where a slug is another link's.
    pub on_conflict: OnConflict,
    /// Links at the start that an earlier run has dealt with.
    pub skip: u64,
    /// The most problems that are held for the report.
    pub max_problems: usize,
    /// The host that a request was sent to, without its port.
    pub host: Option<String>,
    /// What short URLs of the source begin with, where that is more than a host.
    pub base: Option<String>,
}

/// Why an import ended before its end. What was taken before stays, and the whole may be sent again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportError {
    /// Nobody can tell whose form it is.
    #[error("the format was not recognised: name it")]
    UnknownFormat,
    /// It makes no sense from some place on.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    /// The service did not do its part.
    #[error("{0}")]
    Service(#[from] Error),
}
