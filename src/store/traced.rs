//! Spans round a store, for requests that have a trace. The names are those of
//! <https://opentelemetry.io/docs/specs/semconv/db/database-spans/>; statements have no values in them, and are left out.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tracing::Instrument;
use tracing::field::Empty;

use super::{
    Arrival, BatchOutcome, Candidate, Chore, ClickGrant, KeyHash, Once, OpenSession, Place, Porting, Rules,
    SecretName, Selected, SessionHash, SessionStore, SharedSecret, Store, StoreError, Taken, Upkeep,
};
use crate::config;
use crate::domain::{
    Actor, AuditPage, AuditQuery, ChangeKind, ChangePage, ClickBatch, Cursor, Key, KeyCursor, KeyId, KeyPage,
    Link, LinkPage, LinkQuery, Range, Ranking, Redirect, Revision, Selection, Slug, Tally, Totals,
};
use crate::telemetry::traces;

/// A store with spans.
#[derive(Debug)]
struct Traced {
    inner: Arc<dyn Store>,
    system: &'static str,
}

/// Puts spans round `store`, which these settings opened.
#[must_use]
pub fn traced(store: Arc<dyn Store>, config: &config::Store) -> Arc<dyn Store> {
    let system = match config.kind {
        config::StoreKind::Sqlite(_) => "sqlite",
        config::StoreKind::Postgres(_) => "postgresql",
    };
    Arc::new(Traced { inner: store, system })
}

impl Traced {
    /// `summary` is what is done to what: the first word is the operation.
    async fn within<T>(
        &self,
        summary: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if !traces::is_current() {
            return call.await;
        }
        let span = tracing::error_span!(
            target: traces::TARGET,
            "store",
            otel.name = summary,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = self.system,
            db.operation.name = summary.split(' ').next(),
            db.query.summary = summary,
            error.type = Empty,
        );
        let result = call.instrument(span.clone()).await;
        if let Some(kind) = result.as_ref().err().and_then(failure) {
            span.record("error.type", kind);
            span.record("otel.status_code", "ERROR");
        }
        result
    }
}

/// Outcomes that the caller asked for are none.
fn failure(err: &StoreError) -> Option<&'static str> {
    match err {
        StoreError::SlugTaken | StoreError::Conflict => None,
        StoreError::Unavailable(_) => Some("unavailable"),
        StoreError::Refused(_) => Some("refused"),
        StoreError::OutcomeUnknown(_) => Some("outcome_unknown"),
        StoreError::Overloaded => Some("overloaded"),
        StoreError::Panicked => Some("panic"),
        StoreError::Corrupt(_) => Some("corrupt"),
        StoreError::Schema { .. } => Some("schema"),
        StoreError::Settings(_) => Some("settings"),
    }
}

#[async_trait]
impl Store for Traced {
    async fn redirect(&self, slug: &Slug) -> Result<Option<Redirect>, StoreError> {
        self.within("SELECT links", self.inner.redirect(slug)).await
    }

    async fn link(&self, slug: &Slug) -> Result<Option<Link>, StoreError> {
        self.within("SELECT links", self.inner.link(slug)).await
    }

    async fn insert_link(&self, link: &Link, actor: &Actor) -> Result<Revision, StoreError> {
        self.within("INSERT links", self.inner.insert_link(link, actor))
            .await
    }

    async fn insert_links(
        &self,
        candidates: &[Candidate],
        once: Option<&Once>,
        actor: &Actor,
    ) -> Result<BatchOutcome, StoreError> {
        self.within(
            "INSERT links answers",
            self.inner.insert_links(candidates, once, actor),
        )
        .await
    }

    async fn update_link(
        &self,
        link: &Link,
        kind: ChangeKind,
        actor: &Actor,
    ) -> Result<Revision, StoreError> {
        self.within("UPDATE links", self.inner.update_link(link, kind, actor))
            .await
    }

    async fn delete_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError> {
        self.within(
            "DELETE links",
            self.inner.delete_link(slug, owner, expected, actor),
        )
        .await
    }

    async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        self.within("SELECT links", self.inner.links(query)).await
    }

    async fn set_link_aside(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError> {
        self.within(
            "DELETE links",
            self.inner.set_link_aside(slug, owner, expected, now, actor),
        )
        .await
    }

    async fn restore_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        since: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Link>, StoreError> {
        self.within("INSERT links", self.inner.restore_link(slug, owner, since, actor))
            .await
    }

    async fn ranked_links(
        &self,
        owner: Option<&KeyId>,
        ranking: Ranking,
        start: u32,
        limit: u32,
    ) -> Result<Vec<Link>, StoreError> {
        self.within(
            "SELECT links",
            self.inner.ranked_links(owner, ranking, start, limit),
        )
        .await
    }

    async fn totals(&self, owner: Option<&KeyId>) -> Result<Totals, StoreError> {
        self.within("SELECT links", self.inner.totals(owner)).await
    }

    async fn select_links(
        &self,
        selection: &Selection,
        from: &Place,
        limit: u32,
    ) -> Result<Selected, StoreError> {
        self.within("SELECT links", self.inner.select_links(selection, from, limit))
            .await
    }

    async fn toggle_links(
        &self,
        selection: &Selection,
        slugs: &[Slug],
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Vec<Redirect>, StoreError> {
        self.within(
            "UPDATE links",
            self.inner.toggle_links(selection, slugs, now, actor),
        )
        .await
    }

    async fn insert_key(&self, key: &Key, hash: &KeyHash, actor: &Actor) -> Result<(), StoreError> {
        self.within("INSERT keys", self.inner.insert_key(key, hash, actor))
            .await
    }

    async fn key(&self, hash: &KeyHash) -> Result<Option<Key>, StoreError> {
        self.within("SELECT keys", self.inner.key(hash)).await
    }

    async fn keys(&self, after: &KeyCursor, limit: u8) -> Result<KeyPage, StoreError> {
        self.within("SELECT keys", self.inner.keys(after, limit)).await
    }

    async fn delete_key(&self, id: &KeyId, actor: &Actor) -> Result<bool, StoreError> {
        self.within("DELETE keys", self.inner.delete_key(id, actor)).await
    }

    async fn touch_key(&self, id: &KeyId, at: Timestamp) -> Result<(), StoreError> {
        self.within("UPDATE keys", self.inner.touch_key(id, at)).await
    }

    async fn take_click(&self, slug: &Slug, revision: Revision) -> Result<ClickGrant, StoreError> {
        self.within("UPDATE links", self.inner.take_click(slug, revision))
            .await
    }

    async fn record_clicks(&self, batch: &Arc<ClickBatch>) -> Result<bool, StoreError> {
        self.within("INSERT clicks", self.inner.record_clicks(batch))
            .await
    }

    async fn visitor_secret(&self, day: Timestamp, candidate: &str) -> Result<String, StoreError> {
        self.within(
            "INSERT visitor_secrets",
            self.inner.visitor_secret(day, candidate),
        )
        .await
    }

    async fn tally(&self, slug: &Slug, range: &Range, limit: u16) -> Result<Option<Tally>, StoreError> {
        self.within("SELECT clicks", self.inner.tally(slug, range, limit))
            .await
    }

    async fn keep_house(&self, chore: Chore) -> Result<u64, StoreError> {
        self.inner.keep_house(chore).await
    }

    async fn record_maintenance(&self, at: Timestamp) -> Result<(), StoreError> {
        self.inner.record_maintenance(at).await
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        self.inner.upkeep(now).await
    }

    async fn changes_since(&self, since: Timestamp, limit: u32) -> Result<ChangePage, StoreError> {
        self.within("SELECT changes", self.inner.changes_since(since, limit))
            .await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        self.within("SELECT changes", self.inner.audit(query)).await
    }

    async fn check(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.check().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Porting for Traced {
    async fn links_after(
        &self,
        place: Option<Cursor>,
        owner: Option<&KeyId>,
        limit: u16,
    ) -> Result<Vec<(Cursor, Link)>, StoreError> {
        self.within("SELECT links", self.inner.links_after(place, owner, limit))
            .await
    }

    async fn take_links(
        &self,
        arrivals: &[Arrival],
        rules: &Rules,
        actor: &Actor,
    ) -> Result<Vec<Taken>, StoreError> {
        self.within("INSERT links", self.inner.take_links(arrivals, rules, actor))
            .await
    }
}

#[async_trait]
impl SessionStore for Traced {
    async fn shared_secret(
        &self,
        name: SecretName,
        candidate: &SharedSecret,
    ) -> Result<SharedSecret, StoreError> {
        self.within("SELECT shared_secrets", self.inner.shared_secret(name, candidate))
            .await
    }

    async fn rotate_sessions(&self, secret: &SharedSecret, actor: &Actor) -> Result<(), StoreError> {
        self.within("UPDATE shared_secrets", self.inner.rotate_sessions(secret, actor))
            .await
    }

    async fn open_session(&self, session: &OpenSession, actor: &Actor) -> Result<(), StoreError> {
        self.within("INSERT sessions", self.inner.open_session(session, actor))
            .await
    }

    async fn has_session(&self, hash: &SessionHash, now: Timestamp) -> Result<bool, StoreError> {
        self.within("SELECT sessions", self.inner.has_session(hash, now))
            .await
    }

    async fn close_session(&self, hash: &SessionHash, actor: &Actor) -> Result<bool, StoreError> {
        self.within("DELETE sessions", self.inner.close_session(hash, actor))
            .await
    }

    async fn record_refused_session(&self) -> Result<(), StoreError> {
        self.within("INSERT changes", self.inner.record_refused_session())
            .await
    }
}
