//! The recorded changes, and one line in the log for every change: what was done, to what, by whose key. Never the key
//! itself. The request's id comes from the span of the request.

use std::fmt;
use std::sync::Arc;

use tracing::Level;

use super::Error;
use crate::domain::{Actor, AuditPage, AuditQuery, ChangeKind, KeyId, Selection, Slug};
use crate::store::{Store, StoreError};

/// What the lines' `target` is, to filter them by.
const TARGET: &str = "curtail::audit";

/// The recorded changes.
#[derive(Debug)]
pub struct AuditTrail {
    store: Arc<dyn Store>,
}

impl AuditTrail {
    /// The changes that `store` recorded.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// A page of them, newest first.
    pub async fn list(&self, query: &AuditQuery) -> Result<AuditPage, Error> {
        Ok(self.store.audit(query).await?)
    }
}

/// A change of a link or a key may have been committed: no answer came. The recorded changes say whether it was.
pub(super) fn unknown(actor: &Actor, kind: ChangeKind, subject: &dyn fmt::Display, err: &StoreError) {
    let action = kind.as_str();
    tracing::event!(
        target: TARGET,
        Level::WARN,
        audit.action = action,
        audit.outcome = "unknown",
        audit.actor = actor.role(),
        audit.key_id = actor.key_id().map(tracing::field::display),
        audit.subject = %subject,
        error = %err,
        "{action} {subject}: the outcome is unknown: {err}"
    );
}

/// A link was changed.
pub(super) fn link(actor: &Actor, kind: ChangeKind, slug: &Slug) {
    let action = kind.as_str();
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.role(),
        audit.key_id = actor.key_id().map(tracing::field::display),
        slug = slug.as_str(),
        "{action} {slug}"
    );
}

/// Many links were taken down or put up again. `failed` is what ended it early.
pub(super) fn links(actor: &Actor, selection: &Selection, count: u64, failed: Option<&Error>) {
    let action = if selection.disabled {
        "links.enabled"
    } else {
        "links.disabled"
    };
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.role(),
        audit.key_id = actor.key_id().map(tracing::field::display),
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
pub(super) fn import(actor: &Actor, count: u64, whole: bool) {
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = "links.imported",
        audit.actor = actor.role(),
        audit.key_id = actor.key_id().map(tracing::field::display),
        audit.count = count,
        audit.whole = whole,
        "links.imported {count}"
    );
}

/// A key was created or revoked.
pub(super) fn key(actor: &Actor, kind: ChangeKind, id: &KeyId) {
    let action = kind.as_str();
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.role(),
        audit.key_id = actor.key_id().map(tracing::field::display),
        key.id = %id,
        "{action} {id}"
    );
}

/// A session was opened or closed, a sign-in was refused, or all sessions ended. `id` is the session's key, if that is not
/// the one of the settings.
pub(super) fn session(actor: &Actor, kind: ChangeKind, id: Option<&KeyId>) {
    let action = kind.as_str();
    tracing::event!(
        target: TARGET,
        Level::INFO,
        audit.action = action,
        audit.actor = actor.role(),
        audit.key_id = actor.key_id().map(tracing::field::display),
        key.id = id.map(tracing::field::display),
        "{action}"
    );
}
