//! What an import tells of itself.

use serde::Serialize;

use super::Format;
use crate::domain::Fault;

/// What is wrong with one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// JSON Pointer to the field, as the source calls it.
    pub pointer: String,
    /// A stable code.
    pub code: &'static str,
    /// A sentence for a person. Never repeats the target.
    pub detail: String,
}

impl Trouble {
    pub(super) fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::new(fault.pointer, fault.code.as_str(), fault.detail)
    }
}

/// Why a link was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It breaks the rules.
    Refused,
    /// Its slug is another link's.
    Conflict,
}

impl Outcome {
    /// The outcome as it stands in a report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Conflict => "conflict",
        }
    }
}

/// A link that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// The line that it begins in, from 1.
    pub line: u64,
    /// Its slug, as far as it is known.
    pub slug: Option<String>,
    /// Why.
    pub outcome: Outcome,
    /// What is wrong with it.
    pub errors: Vec<Trouble>,
}

/// How far an import has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The form of the input.
    pub format: Option<Format>,
    /// Whether that was guessed.
    pub guessed: bool,
    /// Whether creation times, clicks and owners were kept.
    pub kept_history: bool,
    /// Links that are dealt with: the number to give as `skip` to go on from here.
    pub read: u64,
    /// Links that an earlier run had dealt with.
    pub skipped_at_start: u64,
    /// Links that were made.
    pub created: u64,
    /// Links that were there already.
    pub unchanged: u64,
    /// Links that took the place of others.
    pub overwritten: u64,
    /// Links whose slug is another link's.
    pub conflicts: u64,
    /// Links that break the rules.
    pub refused: u64,
    /// Titles that were cut to the length that is allowed.
    pub titles_cut: u64,
    /// The links that were not taken, the first of them.
    pub problems: Vec<Concern>,
    /// How many more there are.
    pub problems_left_out: u64,
}
