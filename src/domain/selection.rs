//! Links that have something in common, to be taken down together.

use super::{Domain, KeyId, Link, Slug};

/// Which links are meant: those that fit everything that is given.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Their targets are on this domain or below it.
    pub domain: Option<Domain>,
    /// This key made them.
    pub owner: Option<KeyId>,
    /// They have this tag.
    pub tag: Option<String>,
    /// They are among these.
    pub slugs: Option<Vec<Slug>>,
    /// Whether they are taken down.
    pub disabled: bool,
}

impl Selection {
    /// The most slugs that are given one by one.
    pub const MAX_SLUGS: usize = 1000;

    /// Whether nothing is given that links could fit.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.domain.is_none() && self.owner.is_none() && self.tag.is_none() && self.slugs.is_none()
    }

    /// Whether `link` is meant.
    #[must_use]
    pub fn holds(&self, link: &Link) -> bool {
        link.disabled == self.disabled
            && self
                .domain
                .as_ref()
                .is_none_or(|domain| domain.covers(link.target.host()))
            && self
                .owner
                .as_ref()
                .is_none_or(|owner| link.owner.as_ref() == Some(owner))
            && self.tag.as_ref().is_none_or(|tag| link.tags.contains(tag))
            && self.slugs.as_ref().is_none_or(|slugs| slugs.contains(&link.slug))
    }
}
