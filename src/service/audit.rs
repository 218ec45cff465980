//! One line in the log for every change: what was done, to what, by whose key. Never the key itself. The request's id
//! comes from the span of the request.

use tracing::Level;

use super::{Caller, Error};
use crate::domain::{KeyId, Selection, Slug};

/// What the lines' `target` is, to filter them by.
const TARGET: &str = "curtail::audit";

/// Who makes a change.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// Somebody who sent a request.
    Caller(&'a Caller),
    /// Somebody at the command line.
    Operator,
}

impl Actor<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Caller(Caller::Admin) => "admin",
            Self::Caller(Caller::Key(_)) => "key",
            Self::Caller(Caller::Anonymous { .. }) => "anonymous",
            Self::Operator => "operator",
        }
    }

    fn key(self) -> Option<tracing::field::DisplayValue<KeyId>> {
        match self {
            Self::Caller(Caller::Key(key)) => Some(tracing::field::display(key.id.clone())),
            Self::Caller(_) | Self::Operator => None,
        }
    }
}

/// What was done to one link.
#[derive(Debug, Clone, Copy)]
pub(super) enum LinkChange {
    Created,
    Updated,
    Disabled,
    Enabled,
    Deleted,
    Restored,
}

impl LinkChange {
    fn name(self) -> &'static str {
        match self {
            Self::Created => "link.created",
            Self::Updated => "link.updated",
            Self::Disabled => "link.disabled",
            Self::Enabled => "link.enabled",
            Self::Deleted => "link.deleted",
            Self::Restored => "link.restored",
        }
    }
}

/// A link was changed.
pub(super) fn link(caller: &Caller, change: LinkChange, slug: &Slug) {
    let (actor, action) = (Actor::Caller(caller), change.name());
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.kind(),
        audit.key_id = actor.key(),
        slug = slug.as_str(),
        "{action} {slug}"
    );
}

/// Many links were taken down or put up again. `failed` is what ended it early.
pub(super) fn links(caller: &Caller, selection: &Selection, count: u64, failed: Option<&Error>) {
    let actor = Actor::Caller(caller);
    let action = if selection.disabled {
        "links.enabled"
    } else {
        "links.disabled"
    };
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.kind(),
        audit.key_id = actor.key(),
        audit.count = count,
        audit.whole = failed.is_none(),
        selection.domain = selection.domain.as_ref().map(tracing::field::display),
        selection.key_id = selection.owner.as_ref().map(tracing::field::display),
        selection.tag = selection.tag,
        selection.slugs = selection.slugs.as_ref().map(Vec::len),
        "{action} {count}"
    );
}

/// An import made or changed so many links. `whole` is whether it came to its end.
pub(super) fn import(caller: &Caller, count: u64, whole: bool) {
    let actor = Actor::Caller(caller);
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = "links.imported",
        audit.actor = actor.kind(),
        audit.key_id = actor.key(),
        audit.count = count,
        audit.whole = whole,
        "links.imported {count}"
    );
}

/// A key was issued or revoked.
pub(super) fn key(actor: Actor<'_>, action: &'static str, id: &KeyId) {
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.kind(),
        audit.key_id = actor.key(),
        key.id = %id,
        "{action} {id}"
    );
}
