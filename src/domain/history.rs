//! What a link was before it came here.

use jiff::Timestamp;

use super::checks::{keep, time};
use super::{Fault, FaultCode, Link};

/// The past of a link that comes from elsewhere. What is `None` is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// Human clicks so far.
    pub clicks: Option<i64>,
}

impl History {
    /// The most clicks that a link may bring: more than it can have had, and far from where its total would overflow.
    pub const MAX_CLICKS: i64 = 1_000_000_000_000_000;

    /// Checks each field; on failure all faults.
    pub fn check(self) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let created_at = keep(
            &mut faults,
            self.created_at.map(|t| time("/created_at", t)).transpose(),
        );
        let updated_at = keep(
            &mut faults,
            self.updated_at.map(|t| time("/updated_at", t)).transpose(),
        );
        if self
            .clicks
            .is_some_and(|clicks| !(0..=Self::MAX_CLICKS).contains(&clicks))
        {
            let detail = format!("`clicks` must be between 0 and {}", Self::MAX_CLICKS);
            faults.push(Fault::new("/clicks", FaultCode::OutOfRange, detail));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            created_at: created_at.flatten(),
            updated_at: updated_at.flatten(),
            clicks: self.clicks,
        })
    }
}

impl Link {
    /// This link with the past that is known of it. It was not changed before it was made.
    #[must_use]
    pub fn with_history(mut self, history: History) -> Self {
        if let Some(created_at) = history.created_at {
            self.created_at = created_at;
            self.updated_at = created_at;
        }
        if let Some(updated_at) = history.updated_at {
            self.updated_at = updated_at.max(self.created_at);
        }
        self.clicks = history.clicks.unwrap_or(self.clicks);
        self
    }
}
