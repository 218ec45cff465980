//! What a visitor of a slug gets.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{GoneReason, Redirect, Verdict};

/// What a visitor gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// The redirect.
    Follow(Arc<Redirect>),
    /// There is no such link, or not yet.
    Unknown,
    /// The link was here.
    Gone(GoneReason),
}

impl Visit {
    /// What a visitor of a link gets at `now`; `None` if its click limit decides.
    pub(super) fn of(redirect: &Arc<Redirect>, now: Timestamp) -> Option<Self> {
        match redirect.verdict(now) {
            Verdict::Follow => Some(Self::Follow(Arc::clone(redirect))),
            Verdict::Unknown => Some(Self::Unknown),
            Verdict::Gone(reason) => Some(Self::Gone(reason)),
            Verdict::FollowIfGranted => None,
        }
    }
}
