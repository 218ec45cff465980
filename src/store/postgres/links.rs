//! The store's operations, a statement each.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::class::Class;
use super::failure::Failure;
use super::inserts::Inserts;
use super::patience::{within, within_or_longer};
use super::pool::{Parameter, Pool, Queue};
use super::pools::Pools;
pub(super) use super::rows::{
    cache_seconds, column, corrupt, owner, status, to_link, to_redirect, to_revision,
};
use super::settings::Settings;
use super::{aside, batch, changes, chores, clicks, keys, list, outcome, ranking, selection, tally, upkeep};
use crate::config;
use crate::domain::{
    Actor, AuditPage, AuditQuery, ChangeKind, ChangePage, ClickBatch, Key, KeyCursor, KeyId, KeyPage, Link,
    LinkPage, LinkQuery, Range, Ranking, Redirect, Revision, Selection, Slug, Tally, Totals,
};
use crate::store::limits::{BATCH_LIMIT, CLICK_LIMIT, LONG_LIMIT, READ_LIMIT, WRITE_LIMIT};
use crate::store::{
    BatchOutcome, Candidate, Chore, ClickGrant, KeyHash, Once, Place, Selected, Store, StoreError, Upkeep,
};
use crate::telemetry::metrics::Metrics;

const REDIRECT: &str = "-- redirect()
SELECT revision, target, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks IS NOT NULL AS limited, disabled
FROM links WHERE slug = $1";

const LINK: &str = "-- link()
SELECT revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links WHERE slug = $1";

const UPDATE_LINK: &str = "-- update_link()
WITH changed AS (
    UPDATE links SET revision = next_revision(revision), target = $2, title = $3, tags = $4, redirect_status = $5,
        cache_seconds = $6, forward_query = $7, valid_from = $8, expires_at = $9, max_clicks = $10, disabled = $11,
        updated_at = $12
    WHERE slug = $1 AND revision = $13
    RETURNING id, slug, revision
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), $14, slug, id, revision, $15 FROM changed
)
SELECT revision FROM changed";

const DELETE_LINK: &str = "-- delete_link()
WITH changed AS (
    DELETE FROM links WHERE slug = $1 AND ($2::text IS NULL OR owner = $2) AND ($3::bigint IS NULL OR revision = $3)
    RETURNING id, slug, next_revision(revision) AS revision
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.deleted', slug, id, revision, $4 FROM changed
)
SELECT revision FROM changed";

/// Answers what the statement saw when it began as well: the row that it waited for may have changed since.
const TAKE_CLICK: &str = "-- take_click()
WITH taken AS (
    UPDATE links SET clicks = clicks + 1
    WHERE slug = $1 AND first_revision <= $2 AND clicks < max_clicks AND NOT disabled
    RETURNING clicks
)
SELECT EXISTS (SELECT FROM taken) AS granted, disabled OR first_revision > $2 AS gone, max_clicks IS NOT NULL AS limited,
    coalesce(clicks >= max_clicks, false) AS used_up
FROM links WHERE slug = $1";

/// How often a click is tried to be taken of a link that others change meanwhile.
const CLICK_TRIES: u8 = 3;

const ANSWERS: &str = "-- check()
SELECT clock_timestamp() AS now";

/// Links in PostgreSQL.
#[derive(Debug)]
pub(in crate::store) struct PostgresStore {
    pools: Pools,
    pub(super) writes: Pool,
    inserts: Inserts,
}

impl PostgresStore {
    /// Checks the settings. It connects when it is first used. Call it within the runtime that shall drive
    /// the connections.
    pub(in crate::store) fn open(
        section: &config::Postgres,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let settings = Settings::read(section).map_err(|faults| StoreError::Settings(faults.join("; ")))?;
        let pools = Pools::open(&settings, metrics)?;
        let writes = pools.of(Class::Write).clone();
        Ok(Self {
            inserts: Inserts::new(writes.clone(), Pools::most(&settings, Class::Write)),
            writes,
            pools,
        })
    }

    /// The connections to find rows with.
    pub(super) fn reads(&self) -> &Pool {
        self.pools.of(Class::Read)
    }

    /// The connections for lists, searches, statistics and exports.
    pub(super) fn searches(&self) -> &Pool {
        self.pools.of(Class::Search)
    }

    /// Runs a statement that writes. It is not run again: it may have been done although no answer came.
    async fn write(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>, StoreError> {
        let writing = self.writes.query_opt(sql, parameters);
        within_or_longer(&self.writes, WRITE_LIMIT, writing)
            .await
            .map_err(|failure| failure.error)
    }
}

impl PostgresStore {
    /// Runs a transaction that nobody waits for. Like a write, it is not run again.
    async fn whole<'a, T, F: Future<Output = Result<T, Failure>>>(
        &'a self,
        class: Class,
        limit: Duration,
        transaction: impl FnOnce(&'a Pool) -> F,
    ) -> Result<T, StoreError> {
        let pool = self.pools.of(class);
        within(limit, transaction(pool)).await.map_err(|failure| {
            pool.learn_from(&failure);
            failure.error
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn redirect(&self, slug: &Slug) -> Result<Option<Redirect>, StoreError> {
        let parameters: [Parameter<'_>; 1] = [(/* slug */ &slug.as_str(), Type::TEXT)];
        let row = within(READ_LIMIT, self.reads().read(Queue::Long, REDIRECT, &parameters))
            .await
            .map_err(|failure| failure.error)?;
        row.map(|row| to_redirect(slug, &row)).transpose()
    }

    async fn link(&self, slug: &Slug) -> Result<Option<Link>, StoreError> {
        let parameters: [Parameter<'_>; 1] = [(/* slug */ &slug.as_str(), Type::TEXT)];
        let row = within(READ_LIMIT, self.reads().read(Queue::Short, LINK, &parameters))
            .await
            .map_err(|failure| failure.error)?;
        row.map(|row| to_link(slug, &row)).transpose()
    }

    async fn insert_link(&self, link: &Link, actor: &Actor) -> Result<Revision, StoreError> {
        self.inserts.insert(link, actor).await
    }

    async fn insert_links(
        &self,
        candidates: &[Candidate],
        once: Option<&Once>,
        actor: &Actor,
    ) -> Result<BatchOutcome, StoreError> {
        outcome::of_change(batch::insert_links(&self.writes, candidates, once, actor)).await
    }

    async fn update_link(
        &self,
        link: &Link,
        kind: ChangeKind,
        actor: &Actor,
    ) -> Result<Revision, StoreError> {
        let parameters: [Parameter<'_>; 15] = [
            (/* slug */ &link.slug.as_str(), Type::TEXT),
            (/* target */ &link.target.as_str(), Type::TEXT),
            (/* title */ &link.title, Type::TEXT),
            (/* tags */ &link.tags, Type::TEXT_ARRAY),
            (/* redirect_status */ &status(link), Type::INT2),
            (/* cache_seconds */ &cache_seconds(link), Type::INT4),
            (/* forward_query */ &link.forward_query, Type::BOOL),
            (/* valid_from */ &link.valid_from, Type::TIMESTAMPTZ),
            (/* expires_at */ &link.expires_at, Type::TIMESTAMPTZ),
            (/* max_clicks */ &link.max_clicks, Type::INT8),
            (/* disabled */ &link.disabled, Type::BOOL),
            (/* updated_at */ &link.updated_at, Type::TIMESTAMPTZ),
            (/* expected revision */ &link.revision.get(), Type::INT8),
            (/* kind */ &kind.as_str(), Type::TEXT),
            (/* actor */ &actor.to_string(), Type::TEXT),
        ];
        let row = outcome::of_change(self.write(UPDATE_LINK, &parameters)).await?;
        to_revision(&row.ok_or(StoreError::Conflict)?)
    }

    async fn delete_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError> {
        let parameters: [Parameter<'_>; 4] = [
            (/* slug */ &slug.as_str(), Type::TEXT),
            (/* owner */ &owner.map(KeyId::as_str), Type::TEXT),
            (
                /* expected revision */ &expected.map(Revision::get),
                Type::INT8,
            ),
            (/* actor */ &actor.to_string(), Type::TEXT),
        ];
        let row = outcome::of_change(self.write(DELETE_LINK, &parameters)).await?;
        row.map(|row| to_revision(&row)).transpose()
    }

    async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        list::links(self, query).await
    }

    async fn ranked_links(
        &self,
        owner: Option<&KeyId>,
        ranking: Ranking,
        start: u32,
        limit: u32,
    ) -> Result<Vec<Link>, StoreError> {
        ranking::links(self.searches(), owner, ranking, start, limit).await
    }

    async fn totals(&self, owner: Option<&KeyId>) -> Result<Totals, StoreError> {
        ranking::totals(self.searches(), owner).await
    }

    async fn select_links(
        &self,
        selection: &Selection,
        from: &Place,
        limit: u32,
    ) -> Result<Selected, StoreError> {
        // Part of a change: searches must not hold up a take-down.
        selection::select(&self.writes, selection, from, limit).await
    }

    async fn toggle_links(
        &self,
        selection: &Selection,
        slugs: &[Slug],
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Vec<Redirect>, StoreError> {
        outcome::of_change(selection::toggle(&self.writes, selection, slugs, now, actor)).await
    }

    async fn set_link_aside(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError> {
        let set_aside = aside::set_aside(&self.writes, slug, (owner, expected), now, actor);
        outcome::of_change(set_aside).await
    }

    async fn restore_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        since: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Link>, StoreError> {
        outcome::of_change(aside::restore(&self.writes, slug, owner, since, actor)).await
    }

    async fn insert_key(&self, key: &Key, hash: &KeyHash, actor: &Actor) -> Result<(), StoreError> {
        outcome::of_change(keys::insert_key(&self.writes, key, hash, actor)).await
    }

    async fn key(&self, hash: &KeyHash) -> Result<Option<Key>, StoreError> {
        keys::key(self, hash).await
    }

    async fn keys(&self, after: &KeyCursor, limit: u8) -> Result<KeyPage, StoreError> {
        keys::keys(self, after, limit).await
    }

    async fn delete_key(&self, id: &KeyId, actor: &Actor) -> Result<bool, StoreError> {
        outcome::of_change(keys::delete_key(&self.writes, id, actor)).await
    }

    async fn touch_key(&self, id: &KeyId, at: Timestamp) -> Result<(), StoreError> {
        keys::touch_key(&self.writes, id, at).await
    }

    async fn take_click(&self, slug: &Slug, revision: Revision) -> Result<ClickGrant, StoreError> {
        let parameters: [Parameter<'_>; 2] = [
            (/* slug */ &slug.as_str(), Type::TEXT),
            (/* revision */ &revision.get(), Type::INT8),
        ];
        let pool = self.pools.of(Class::LimitedClick);
        let taking = async {
            for _ in 0..CLICK_TRIES {
                let row = pool.query_opt(TAKE_CLICK, &parameters).await?;
                if let Some(grant) = to_grant(row.as_ref()).map_err(Failure::of_outcome)? {
                    return Ok(grant);
                }
            }
            Ok(ClickGrant::UsedUp)
        };
        within_or_longer(pool, CLICK_LIMIT, taking)
            .await
            .map_err(|failure| failure.error)
    }

    async fn record_clicks(&self, batch: &Arc<ClickBatch>) -> Result<bool, StoreError> {
        self.whole(Class::Click, BATCH_LIMIT, |pool| clicks::record(pool, batch))
            .await
    }

    async fn visitor_secret(&self, day: Timestamp, candidate: &str) -> Result<String, StoreError> {
        self.whole(Class::Click, LONG_LIMIT, |pool| {
            clicks::secret(pool, day, candidate)
        })
        .await
    }

    async fn tally(&self, slug: &Slug, range: &Range, limit: u16) -> Result<Option<Tally>, StoreError> {
        let question = tally::Question::new(slug, range, limit);
        let parameters = question.parameters();
        let row = within(
            LONG_LIMIT,
            self.searches().read(Queue::Long, tally::TALLY, &parameters),
        )
        .await
        .map_err(|failure| failure.error)?;
        row.map(|row| tally::to_tally(&row)).transpose()
    }

    async fn keep_house(&self, chore: Chore) -> Result<u64, StoreError> {
        self.whole(Class::Maintenance, BATCH_LIMIT, |pool| {
            chores::keep_house(pool, chore)
        })
        .await
    }

    async fn record_maintenance(&self, at: Timestamp) -> Result<(), StoreError> {
        upkeep::record_maintenance(&self.writes, at).await
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        upkeep::read(self.reads(), now).await
    }

    async fn changes_since(&self, since: Timestamp, limit: u32) -> Result<ChangePage, StoreError> {
        changes::since(self.reads(), since, limit).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        changes::audit(self.reads(), query).await
    }

    async fn check(&self) -> Result<Option<Timestamp>, StoreError> {
        // Where connecting is slow, the first question is the one that connects.
        let is_first = !self.pools.schema().is_known();
        let limit = if is_first { LONG_LIMIT } else { READ_LIMIT };
        match within(limit, self.reads().read(Queue::Any, ANSWERS, &[])).await {
            Ok(row) => row.map(|row| column(&row, "now")).transpose(),
            // A database that is busy is there. An instance that was said to be down for that would leave its
            // visitors to the others, who have too much to do already.
            Err(Failure {
                error: StoreError::Overloaded,
                ..
            }) if !is_first => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    async fn close(&self) {
        self.pools.close();
    }
}

/// What a try to take a click came to; `None` if the link changed while the statement waited for it, so that it has to
/// be asked again.
fn to_grant(row: Option<&Row>) -> Result<Option<ClickGrant>, StoreError> {
    let Some(row) = row else {
        return Ok(Some(ClickGrant::Gone));
    };
    let (granted, gone, limited): (bool, bool, bool) = (
        column(row, "granted")?,
        column(row, "gone")?,
        column(row, "limited")?,
    );
    Ok(match (granted, gone, limited, column(row, "used_up")?) {
        (true, ..) => Some(ClickGrant::Granted),
        (false, true, ..) => Some(ClickGrant::Gone),
        (false, false, false, _) => Some(ClickGrant::NotLimited),
        (false, false, true, true) => Some(ClickGrant::UsedUp),
        (false, false, true, false) => None,
    })
}
