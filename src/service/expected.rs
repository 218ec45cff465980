//! Which state of a link a change starts from.

use crate::domain::Revision;

/// The revisions that a link may have for a change to be applied. A link at another one is
/// [`Error::Stale`](super::Error::Stale).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Every revision.
    #[default]
    Any,
    /// One of these.
    OneOf(Vec<Revision>),
}

impl Expected {
    /// Whether a link at `revision` may be changed.
    #[must_use]
    pub fn admits(&self, revision: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(revisions) => revisions.contains(&revision),
        }
    }
}
