//! Links on their way in and out.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::document::{Item, document};
use super::failure::Failure;
use super::links::{PostgresStore, column, corrupt, to_link};
use super::outcome;
use super::patience::within;
use super::pool::Parameter;
use super::work::Work;
use crate::domain::{Actor, ChangeKind, Cursor, KeyId, Link, Revision, Slug};
use crate::store::limits::{IMPORT_LIMIT, LONG_LIMIT};
use crate::store::{Arrival, Porting, Rules, StoreError, Taken};

const LINKS_AFTER: &str = "-- links_after()
SELECT id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links
WHERE id > $1 AND ($2 IS NULL OR owner = $2)
ORDER BY id
LIMIT $3";

/// Numbered in their order, so that the export lists them in the order of the import. Inserted in the order of their
/// slugs, as all statements with many links do: an import and a bulk create do not wait for each other in a circle.
const TAKE_NEW: &str = "-- take_new()
WITH changed AS (
INSERT INTO links (id, slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner)
OVERRIDING SYSTEM VALUE
SELECT id, slug, revision, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from,
    expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner
FROM (
    SELECT nextval('links_id_seq') AS id, next_revision(0) AS revision, slug, target, title, tags,
        redirect_status, cache_seconds, forward_query, valid_from, expires_at, max_clicks, disabled, updated_at, clicks,
        created_at, owner
    FROM (
        SELECT slug, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
            max_clicks, disabled, updated_at, clicks, created_at, owner
        FROM ROWS FROM (json_to_recordset(CAST($1 AS json)) AS (slug text, target text, title text, tags text[],
        redirect_status smallint, cache_seconds integer, forward_query boolean, valid_from timestamptz,
        expires_at timestamptz, max_clicks bigint, disabled boolean, updated_at timestamptz, clicks bigint,
        created_at timestamptz, owner text)) WITH ORDINALITY
        AS item (slug, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
            max_clicks, disabled, updated_at, clicks, created_at, owner, place)
        ORDER BY place
    ) AS item
) AS numbered
ORDER BY slug COLLATE \"C\", id
ON CONFLICT (slug) DO NOTHING
RETURNING id, slug, revision
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.created', slug, id, revision, $2 FROM changed
)
SELECT slug, revision FROM changed";

// `slug = ANY` would be looked for in the index of the search too, which takes long while it has entries to sort in.
const KEPT: &str = "-- kept()
SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM unnest($1) AS named (name)
CROSS JOIN LATERAL (
    SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
        max_clicks, disabled, clicks, created_at, updated_at, owner
    FROM links WHERE slug = name OFFSET 0
) AS links";

/// In the order in which batches of clicks lock, so that neither waits for the other in a circle.
const LOCK_KEPT: &str = "-- lock_kept()
SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links WHERE slug IN (SELECT unnest($1)) ORDER BY slug FOR UPDATE";

const OVERWRITE: &str = "-- overwrite()
WITH changed AS (
UPDATE links SET revision = next_revision(links.revision), target = item.target, title = item.title, tags = item.tags,
    redirect_status = item.redirect_status, cache_seconds = item.cache_seconds, forward_query = item.forward_query,
    valid_from = item.valid_from, expires_at = item.expires_at, max_clicks = item.max_clicks,
    disabled = item.disabled, updated_at = item.updated_at, clicks = item.clicks, created_at = item.created_at
FROM json_to_recordset(CAST($1 AS json)) AS item (slug text, target text, title text, tags text[],
    redirect_status smallint, cache_seconds integer, forward_query boolean, valid_from timestamptz,
    expires_at timestamptz, max_clicks bigint, disabled boolean, updated_at timestamptz, clicks bigint,
    created_at timestamptz, kind text)
WHERE links.slug = item.slug
RETURNING links.id, links.slug, links.revision, item.kind
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), kind, slug, id, revision, $2 FROM changed
)
SELECT slug, revision FROM changed";

#[async_trait]
impl Porting for PostgresStore {
    async fn links_after(
        &self,
        place: Option<Cursor>,
        owner: Option<&KeyId>,
        limit: u16,
    ) -> Result<Vec<(Cursor, Link)>, StoreError> {
        let parameters: [Parameter<'_>; 3] = [
            (/* place */ &place.map_or(0, Cursor::number), Type::INT8),
            (/* owner */ &owner.map(KeyId::as_str), Type::TEXT),
            (/* limit */ &i64::from(limit), Type::INT8),
        ];
        let rows = within(LONG_LIMIT, self.searches().query(LINKS_AFTER, &parameters))
            .await
            .map_err(|failure| failure.error)?;
        rows.iter()
            .map(|row| Ok((Cursor::at(column(row, "id")?), kept_link(row)?)))
            .collect()
    }

    async fn take_links(
        &self,
        arrivals: &[Arrival],
        rules: &Rules,
        actor: &Actor,
    ) -> Result<Vec<Taken>, StoreError> {
        let taking = within(IMPORT_LIMIT, take(self, arrivals, rules, actor));
        let (taken, unanswered) = outcome::watch(taking).await;
        taken.map_err(|failure| {
            self.writes.learn_from(&failure);
            outcome::unknown_if(unanswered, failure.error)
        })
    }
}

async fn take(
    store: &PostgresStore,
    arrivals: &[Arrival],
    rules: &Rules,
    actor: &Actor,
) -> Result<Vec<Taken>, Failure> {
    let actor = actor.to_string();
    let mut taken = vec![Taken::Differs; arrivals.len()];
    let arrived = document(arrivals.iter().map(|arrival| Arrived::new(&arrival.link, None)))?;
    let parameters: [Parameter<'_>; 2] = [
        (/* links */ &arrived, Type::TEXT),
        (/* actor */ &actor, Type::TEXT),
    ];
    let rows = store.writes.query(TAKE_NEW, &parameters).await?;
    let new = revisions(&rows).map_err(Failure::of_outcome)?;
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (at, arrival) in arrivals.iter().enumerate() {
        match new.get(arrival.link.slug.as_str()) {
            Some(revision) => taken[at] = Taken::Inserted(*revision),
            None => {
                open.insert(arrival.link.slug.as_str(), at);
            }
        }
    }
    if open.is_empty() {
        return Ok(taken);
    }
    let slugs: Vec<&str> = open.keys().copied().collect();
    let parameters: [Parameter<'_>; 1] = [(/* slugs */ &slugs, Type::TEXT_ARRAY)];
    if !rules.overwrite {
        for row in store.writes.query(KEPT, &parameters).await? {
            settle(&row, &open, arrivals, rules, &mut taken).map_err(Failure::of_outcome)?;
        }
        return Ok(taken);
    }
    let work = Work::begin(&store.writes).await?;
    let mut replaced = Vec::new();
    for row in work.query(LOCK_KEPT, &parameters).await? {
        replaced.extend(settle(&row, &open, arrivals, rules, &mut taken).map_err(Failure::of_outcome)?);
    }
    if !replaced.is_empty() {
        let replacing = document(
            replaced
                .iter()
                .map(|(link, kind)| Arrived::new(link, Some(*kind))),
        )?;
        let parameters: [Parameter<'_>; 2] = [
            (/* links */ &replacing, Type::TEXT),
            (/* actor */ &actor, Type::TEXT),
        ];
        let rows = work.query(OVERWRITE, &parameters).await?;
        for (slug, revision) in revisions(&rows).map_err(Failure::of_outcome)? {
            if let Some(at) = open.get(slug) {
                taken[*at] = Taken::Overwritten(revision);
            }
        }
    }
    work.commit().await?;
    Ok(taken)
}

/// Notes what becomes of the arrival that a kept link stands in the way of; `Some` is what is to be kept instead, and
/// the kind of that change.
fn settle(
    row: &Row,
    open: &HashMap<&str, usize>,
    arrivals: &[Arrival],
    rules: &Rules,
    taken: &mut [Taken],
) -> Result<Option<(Link, ChangeKind)>, StoreError> {
    let kept = kept_link(row)?;
    let Some(at) = open.get(kept.slug.as_str()).copied() else {
        return Ok(None);
    };
    match rules.compare(&kept, &arrivals[at]) {
        Ok(same) => {
            taken[at] = same;
            Ok(None)
        }
        Err(false) => Ok(None),
        Err(true) => {
            let link = rules.replacement(&kept, &arrivals[at]);
            let kind = ChangeKind::of_update(kept.disabled, link.disabled);
            Ok(Some((link, kind)))
        }
    }
}

fn kept_link(row: &Row) -> Result<Link, StoreError> {
    let slug: Slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
    to_link(&slug, row)
}

fn revisions(rows: &[Row]) -> Result<HashMap<&str, Revision>, StoreError> {
    rows.iter()
        .map(|row| Ok((column(row, "slug")?, Revision::new(column(row, "revision")?))))
        .collect()
}

/// A link that brings more with it than a new one has.
#[derive(Serialize)]
struct Arrived<'a> {
    #[serde(flatten)]
    link: Item<'a>,
    disabled: bool,
    updated_at: Timestamp,
    clicks: i64,
    /// What writing it over another changes.
    kind: Option<ChangeKind>,
}

impl<'a> Arrived<'a> {
    fn new(link: &'a Link, kind: Option<ChangeKind>) -> Self {
        Self {
            link: Item::from(link),
            disabled: link.disabled,
            updated_at: link.updated_at,
            clicks: link.clicks,
            kind,
        }
    }
}
