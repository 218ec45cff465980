//! Walks over links, a step at a time.

use crate::domain::Slug;

/// A place in a walk. The default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub(super) key: String,
    pub(super) id: i64,
}

/// What a step of a walk found.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    /// The links that are meant, of those that were looked at.
    pub slugs: Vec<Slug>,
    /// Where the next step begins; `None` if this was the last.
    pub next: Option<Place>,
}
