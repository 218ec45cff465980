//! What changes a link.

use jiff::Timestamp;

use super::checks::{cache_seconds, keep, max_clicks, redirect_status, tags, target, time, title};
use super::{Fault, RedirectStatus, TargetPolicy, TargetUrl};

/// One field of a change: left as it is, or set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// The field was absent.
    #[default]
    Keep,
    /// The field was there; for a field that can be empty, `Set(None)` is `null`.
    Set(T),
}

impl<T> Change<T> {
    fn try_map<U, E>(self, f: impl FnOnce(T) -> Result<U, E>) -> Result<Change<U>, E> {
        match self {
            Self::Keep => Ok(Change::Keep),
            Self::Set(value) => f(value).map(Change::Set),
        }
    }

    pub(super) fn clone_into_if_set(&self, field: &mut T)
    where
        T: Clone,
    {
        if let Self::Set(value) = self {
            field.clone_from(value);
        }
    }
}

/// A JSON merge patch (RFC 7396) of a link: of the right types, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    missing_docs,
    reason = "the fields are those of the link object in the HTTP contract"
)]
pub struct LinkPatch {
    pub url: Change<String>,
    pub title: Change<Option<String>>,
    pub tags: Change<Vec<String>>,
    pub redirect_status: Change<Option<i64>>,
    pub cache_seconds: Change<Option<i64>>,
    pub forward_query: Change<bool>,
    pub valid_from: Change<Option<Timestamp>>,
    pub expires_at: Change<Option<Timestamp>>,
    pub max_clicks: Change<Option<i64>>,
    pub disabled: Change<bool>,
}

/// A change of a link, each field checked. Whether the fields fit together shows in [`Link::updated`](super::Link::updated).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields are those of `Link`")]
pub struct LinkUpdate {
    pub target: Change<TargetUrl>,
    pub title: Change<Option<String>>,
    pub tags: Change<Vec<String>>,
    pub redirect_status: Change<RedirectStatus>,
    pub cache_seconds: Change<Option<u32>>,
    pub forward_query: Change<bool>,
    pub valid_from: Change<Option<Timestamp>>,
    pub expires_at: Change<Option<Timestamp>>,
    pub max_clicks: Change<Option<i64>>,
    pub disabled: Change<bool>,
}

impl LinkUpdate {
    /// Checks a patch; on failure all its faults.
    pub fn check(patch: LinkPatch, targets: &TargetPolicy<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let found = &mut faults;
        let update = Self {
            target: keep(found, patch.url.try_map(|text| target(&text, targets))).unwrap_or_default(),
            title: keep(found, patch.title.try_map(|t| t.map(title).transpose())).unwrap_or_default(),
            tags: keep(found, patch.tags.try_map(tags)).unwrap_or_default(),
            redirect_status: keep(
                found,
                patch
                    .redirect_status
                    .try_map(|s| s.map(redirect_status).transpose().map(Option::unwrap_or_default)),
            )
            .unwrap_or_default(),
            cache_seconds: keep(
                found,
                patch.cache_seconds.try_map(|s| s.map(cache_seconds).transpose()),
            )
            .unwrap_or_default(),
            forward_query: patch.forward_query,
            valid_from: keep(
                found,
                patch
                    .valid_from
                    .try_map(|t| t.map(|t| time("/valid_from", t)).transpose()),
            )
            .unwrap_or_default(),
            expires_at: keep(
                found,
                patch
                    .expires_at
                    .try_map(|t| t.map(|t| time("/expires_at", t)).transpose()),
            )
            .unwrap_or_default(),
            max_clicks: keep(found, patch.max_clicks.try_map(|n| n.map(max_clicks).transpose()))
                .unwrap_or_default(),
            disabled: patch.disabled,
        };
        if faults.is_empty() {
            Ok(update)
        } else {
            Err(faults)
        }
    }
}
