//! The store's operations, a transaction each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::failure::unavailable;
use super::pool::{Pool, blocking};
use super::rows::to_redirect;
pub(super) use super::rows::{column, corrupt, to_link, to_time};
use super::{
    aside, batch, changes, chores, clicks, connect, faults, keys, list, migrate, ranking, selection, upkeep,
    writes,
};
use crate::domain::{
    Actor, AuditPage, AuditQuery, ChangeKind, ChangePage, ClickBatch, Key, KeyCursor, KeyId, KeyPage, Link,
    LinkPage, LinkQuery, Range, Ranking, Redirect, Revision, Selection, Slug, Tally, Totals,
};
use crate::store::limits::{BATCH_LIMIT, CLICK_LIMIT, LONG_LIMIT, READ_LIMIT};
use crate::store::walk::Walk;
use crate::store::{
    BatchOutcome, Candidate, Chore, ClickGrant, KeyHash, Once, Place, Selected, Store, StoreError, Upkeep,
};
use crate::telemetry::metrics::Metrics;

const REDIRECT: &str = "-- redirect()
SELECT revision, target, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks IS NOT NULL AS limited, disabled
FROM links WHERE slug = ?1";

pub(super) const LINK: &str = "-- link()
SELECT revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links WHERE slug = ?1";

const ANSWERS: &str = "-- check()
SELECT count(*) FROM link_revision";

/// Connections for redirects and keys alone, and for lists, searches, statistics and exports: those cannot hold up the
/// first. WAL lets all of them read while another one writes.
const READERS: usize = 1;
const SEARCHERS: usize = 2;

/// Links in an SQLite file.
#[derive(Debug)]
pub(in crate::store) struct SqliteStore {
    pub(super) reads: Pool,
    pub(super) searches: Pool,
    pub(super) writes: Pool,
    positions: Arc<chores::Positions>,
    schema_seen: AtomicBool,
}

impl SqliteStore {
    /// Opens the file, and makes it if need be; with `migrate`, brings its schema to this build's.
    pub(in crate::store) async fn open(
        path: &Path,
        migrate: bool,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        if let Some(fault) = faults(path).pop() {
            return Err(StoreError::Settings(fault));
        }
        let (path, metrics) = (path.to_owned(), Arc::clone(metrics));
        blocking(move || {
            let mut writer = connect::writer(&path)?;
            if migrate {
                migrate::migrate(&mut writer)?;
            }
            let readers = |number| {
                (0..number)
                    .map(|_| connect::reader(&path))
                    .collect::<Result<_, _>>()
            };
            Ok(Self {
                reads: Pool::start("read", readers(READERS)?, |_| (), &metrics)?,
                searches: Pool::start("search", readers(SEARCHERS)?, |_| (), &metrics)?,
                writes: Pool::start("write", vec![writer], connect::checkpoint, &metrics)?,
                positions: Arc::default(),
                schema_seen: AtomicBool::new(false),
            })
        })
        .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn redirect(&self, slug: &Slug) -> Result<Option<Redirect>, StoreError> {
        let slug = slug.clone();
        self.reads
            .run(READ_LIMIT, move |connection| {
                one(connection, REDIRECT, slug, to_redirect)
            })
            .await
    }

    async fn link(&self, slug: &Slug) -> Result<Option<Link>, StoreError> {
        let slug = slug.clone();
        self.reads
            .run(READ_LIMIT, move |connection| one(connection, LINK, slug, to_link))
            .await
    }

    async fn insert_link(&self, link: &Link, actor: &Actor) -> Result<Revision, StoreError> {
        let (link, actor) = (link.clone(), actor.clone());
        self.mutate(LONG_LIMIT, move |connection| {
            writes::insert_link(connection, &link, &actor)
        })
        .await
    }

    async fn insert_links(
        &self,
        candidates: &[Candidate],
        once: Option<&Once>,
        actor: &Actor,
    ) -> Result<BatchOutcome, StoreError> {
        let (candidates, once, actor) = (candidates.to_vec(), once.cloned(), actor.clone());
        let insert = move |connection: &mut Connection| {
            batch::insert_links(connection, &candidates, once.as_ref(), &actor)
        };
        self.mutate(LONG_LIMIT, insert).await
    }

    async fn update_link(
        &self,
        link: &Link,
        kind: ChangeKind,
        actor: &Actor,
    ) -> Result<Revision, StoreError> {
        let (link, actor) = (link.clone(), actor.clone());
        self.mutate(LONG_LIMIT, move |connection| {
            writes::update_link(connection, &link, kind, &actor)
        })
        .await
    }

    async fn delete_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError> {
        let (slug, owner, actor) = (slug.clone(), owner.cloned(), actor.clone());
        let delete = move |connection: &mut Connection| {
            writes::delete_link(connection, &slug, owner.as_ref(), expected, &actor)
        };
        self.mutate(LONG_LIMIT, delete).await
    }

    async fn links(&self, query: &LinkQuery) -> Result<LinkPage, StoreError> {
        let mut walk = Walk::new(query.after, query.limit);
        loop {
            let (query, plan) = (query.clone(), walk.plan());
            // Each step waits for its turn, so that others come between.
            let step = move |connection: &mut Connection| list::step(connection, &query, plan);
            if let Some(page) = walk.take(self.searches.run(READ_LIMIT, step).await?) {
                return Ok(page);
            }
        }
    }

    async fn ranked_links(
        &self,
        owner: Option<&KeyId>,
        ranking: Ranking,
        start: u32,
        limit: u32,
    ) -> Result<Vec<Link>, StoreError> {
        let owner = owner.cloned();
        let rank = move |connection: &mut Connection| {
            ranking::links(connection, owner.as_ref(), ranking, start, limit)
        };
        self.searches.run(READ_LIMIT, rank).await
    }

    async fn totals(&self, owner: Option<&KeyId>) -> Result<Totals, StoreError> {
        let owner = owner.cloned();
        let sum = move |connection: &mut Connection| ranking::totals(connection, owner.as_ref());
        self.searches.run(READ_LIMIT, sum).await
    }

    async fn select_links(
        &self,
        selection: &Selection,
        from: &Place,
        limit: u32,
    ) -> Result<Selected, StoreError> {
        let (selection, from) = (selection.clone(), from.clone());
        let select =
            move |connection: &mut Connection| selection::select(connection, &selection, &from, limit);
        self.searches.run(READ_LIMIT, select).await
    }

    async fn toggle_links(
        &self,
        selection: &Selection,
        slugs: &[Slug],
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Vec<Redirect>, StoreError> {
        let (selection, slugs, actor) = (selection.clone(), slugs.to_vec(), actor.clone());
        let toggle =
            move |connection: &mut Connection| selection::toggle(connection, &selection, &slugs, now, &actor);
        self.mutate(LONG_LIMIT, toggle).await
    }

    async fn set_link_aside(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        expected: Option<Revision>,
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Revision>, StoreError> {
        let (slug, owner, actor) = (slug.clone(), owner.cloned(), actor.clone());
        let set_aside = move |connection: &mut Connection| {
            aside::set_aside(connection, &slug, (owner.as_ref(), expected), now, &actor)
        };
        self.mutate(LONG_LIMIT, set_aside).await
    }

    async fn restore_link(
        &self,
        slug: &Slug,
        owner: Option<&KeyId>,
        since: Timestamp,
        actor: &Actor,
    ) -> Result<Option<Link>, StoreError> {
        let (slug, owner, actor) = (slug.clone(), owner.cloned(), actor.clone());
        let restore = move |connection: &mut Connection| {
            aside::restore(connection, &slug, owner.as_ref(), since, &actor)
        };
        self.mutate(LONG_LIMIT, restore).await
    }

    async fn insert_key(&self, key: &Key, hash: &KeyHash, actor: &Actor) -> Result<(), StoreError> {
        let (key, hash, actor) = (key.clone(), *hash, actor.clone());
        let insert = move |connection: &mut Connection| keys::insert_key(connection, &key, &hash, &actor);
        self.mutate(LONG_LIMIT, insert).await
    }

    async fn key(&self, hash: &KeyHash) -> Result<Option<Key>, StoreError> {
        let hash = *hash;
        let find = move |connection: &mut Connection| keys::key(connection, &hash);
        self.reads.run(READ_LIMIT, find).await
    }

    async fn keys(&self, after: &KeyCursor, limit: u8) -> Result<KeyPage, StoreError> {
        let after = after.clone();
        let list = move |connection: &mut Connection| keys::keys(connection, &after, limit);
        self.searches.run(READ_LIMIT, list).await
    }

    async fn delete_key(&self, id: &KeyId, actor: &Actor) -> Result<bool, StoreError> {
        let (id, actor) = (id.clone(), actor.clone());
        let delete = move |connection: &mut Connection| keys::delete_key(connection, &id, &actor);
        self.mutate(LONG_LIMIT, delete).await
    }

    async fn touch_key(&self, id: &KeyId, at: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        let touch = move |connection: &mut Connection| keys::touch_key(connection, &id, at);
        self.writes.run(LONG_LIMIT, touch).await
    }

    async fn take_click(&self, slug: &Slug, revision: Revision) -> Result<ClickGrant, StoreError> {
        let slug = slug.clone();
        let take = move |connection: &mut Connection| writes::take_click(connection, slug, revision);
        self.writes.run(CLICK_LIMIT, take).await
    }

    async fn record_clicks(&self, batch: &Arc<ClickBatch>) -> Result<bool, StoreError> {
        let batch = Arc::clone(batch);
        self.writes
            .run(BATCH_LIMIT, move |connection| clicks::record(connection, &batch))
            .await
    }

    async fn visitor_secret(&self, day: Timestamp, candidate: &str) -> Result<String, StoreError> {
        let candidate = candidate.to_owned();
        self.writes
            .run(LONG_LIMIT, move |connection| {
                clicks::secret(connection, day, &candidate)
            })
            .await
    }

    async fn tally(&self, slug: &Slug, range: &Range, limit: u16) -> Result<Option<Tally>, StoreError> {
        let (slug, range) = (slug.clone(), *range);
        self.searches
            .run(READ_LIMIT, move |connection| {
                clicks::tally(connection, &slug, &range, limit)
            })
            .await
    }

    async fn keep_house(&self, chore: Chore) -> Result<u64, StoreError> {
        let positions = Arc::clone(&self.positions);
        self.writes
            .run(LONG_LIMIT, move |connection| {
                chores::keep_house(connection, &positions, chore)
            })
            .await
    }

    async fn record_maintenance(&self, at: Timestamp) -> Result<(), StoreError> {
        let record = move |connection: &mut Connection| upkeep::record_maintenance(connection, at);
        self.writes.run(LONG_LIMIT, record).await
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        let read = move |connection: &mut Connection| upkeep::read(connection, now);
        self.reads.run(READ_LIMIT, read).await
    }

    async fn changes_since(&self, since: Timestamp, limit: u32) -> Result<ChangePage, StoreError> {
        let read = move |connection: &mut Connection| changes::since(connection, since, limit);
        self.reads.run(READ_LIMIT, read).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let query = query.clone();
        let read = move |connection: &mut Connection| changes::audit(connection, &query);
        self.searches.run(READ_LIMIT, read).await
    }

    async fn check(&self) -> Result<Option<Timestamp>, StoreError> {
        if self.schema_seen.load(Ordering::Relaxed) {
            let answers = |connection: &mut Connection| {
                let mut statement = connection.prepare_cached(ANSWERS).map_err(unavailable)?;
                statement
                    .query_one([], |row| row.get::<_, i64>(0))
                    .map(|_| None)
                    .map_err(unavailable)
            };
            return self.reads.run(READ_LIMIT, answers).await;
        }
        let found = |connection: &mut Connection| migrate::found(connection).map_err(unavailable);
        self.reads.run(READ_LIMIT, found).await?.check()?;
        self.schema_seen.store(true, Ordering::Relaxed);
        Ok(None)
    }

    async fn close(&self) {
        self.reads.close().await;
        self.searches.close().await;
        self.writes.close().await;
    }
}

pub(super) fn tags(link: &Link) -> Result<String, StoreError> {
    serde_json::to_string(&link.tags).map_err(corrupt("tags"))
}

/// The link that a statement finds by its slug.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    slug: Slug,
    read: fn(Slug, &Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let mut rows = statement
        .query(params![/* slug */ slug.as_str()])
        .map_err(unavailable)?;
    rows.next()
        .map_err(unavailable)?
        .map(|row| read(slug, row))
        .transpose()
}
