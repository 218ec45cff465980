//! Links on their way in and out.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::changes;
use super::failure::unavailable;
use super::links::{LINK, SqliteStore, column, corrupt, one, tags, to_link};
use super::writes::{draw_revision, insert_row};
use crate::domain::{Actor, ChangeKind, Cursor, KeyId, Link, Revision, Slug};
use crate::store::limits::{IMPORT_LIMIT, READ_LIMIT};
use crate::store::{Arrival, Porting, Rules, StoreError, Taken};

const LINKS_AFTER: &str = "-- links_after()
SELECT id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links
WHERE id > ?1
ORDER BY id
LIMIT ?2";

const LINKS_OF_AFTER: &str = "-- links_of_after()
SELECT id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links
WHERE id > ?1 AND owner = ?3
ORDER BY id
LIMIT ?2";

const OVERWRITE: &str = "-- overwrite()
UPDATE links SET revision = ?2, target = ?3, title = ?4, tags = ?5, redirect_status = ?6, cache_seconds = ?7,
    forward_query = ?8, valid_from = ?9, expires_at = ?10, max_clicks = ?11, disabled = ?12, updated_at = ?13,
    clicks = ?14, created_at = ?15
WHERE slug = ?1
RETURNING id";

#[async_trait]
impl Porting for SqliteStore {
    async fn links_after(
        &self,
        place: Option<Cursor>,
        owner: Option<&KeyId>,
        limit: u16,
    ) -> Result<Vec<(Cursor, Link)>, StoreError> {
        let owner = owner.cloned();
        let list = move |connection: &mut Connection| after(connection, place, owner.as_ref(), limit);
        self.searches.run(READ_LIMIT, list).await
    }

    async fn take_links(
        &self,
        arrivals: &[Arrival],
        rules: &Rules,
        actor: &Actor,
    ) -> Result<Vec<Taken>, StoreError> {
        let (arrivals, rules, actor) = (arrivals.to_vec(), rules.clone(), actor.clone());
        let take = move |connection: &mut Connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(unavailable)?;
            let taken = arrivals
                .iter()
                .map(|arrival| take(&transaction, arrival, &rules, &actor))
                .collect::<Result<Vec<_>, _>>()?;
            transaction.commit().map_err(unavailable)?;
            Ok(taken)
        };
        self.mutate(IMPORT_LIMIT, take).await
    }
}

fn after(
    connection: &Connection,
    place: Option<Cursor>,
    owner: Option<&KeyId>,
    limit: u16,
) -> Result<Vec<(Cursor, Link)>, StoreError> {
    let place = place.map_or(0, Cursor::number);
    let sql = if owner.is_some() {
        LINKS_OF_AFTER
    } else {
        LINKS_AFTER
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let mut rows = match owner {
        None => statement.query(params![/* place */ place, /* limit */ limit]),
        Some(owner) => statement.query(params![
            /* place */ place,
            /* limit */ limit,
            /* owner */ owner.as_str()
        ]),
    }
    .map_err(unavailable)?;
    let mut links = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let slug: Slug = column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?;
        links.push((Cursor::at(column(row, "id")?), to_link(slug, row)?));
    }
    Ok(links)
}

fn take(
    connection: &Connection,
    arrival: &Arrival,
    rules: &Rules,
    actor: &Actor,
) -> Result<Taken, StoreError> {
    let slug = &arrival.link.slug;
    let Some(kept) = one(connection, LINK, slug.clone(), to_link)? else {
        let inserted = insert_row(connection, &arrival.link, actor)?;
        return Ok(inserted.map_or(Taken::Differs, Taken::Inserted));
    };
    match rules.compare(&kept, arrival) {
        Ok(taken) => Ok(taken),
        Err(false) => Ok(Taken::Differs),
        Err(true) => overwrite(connection, &kept, &rules.replacement(&kept, arrival), actor),
    }
}

fn overwrite(connection: &Connection, kept: &Link, link: &Link, actor: &Actor) -> Result<Taken, StoreError> {
    let revision = draw_revision(connection, kept.revision.get()).map_err(unavailable)?;
    let parameters = params![
        /* slug */ link.slug.as_str(),
        /* revision */ revision,
        /* target */ link.target.as_str(),
        /* title */ link.title,
        /* tags */ tags(link)?,
        /* redirect_status */ link.redirect_status.code(),
        /* cache_seconds */ link.cache_seconds,
        /* forward_query */ link.forward_query,
        /* valid_from */ link.valid_from.map(Timestamp::as_microsecond),
        /* expires_at */ link.expires_at.map(Timestamp::as_microsecond),
        /* max_clicks */ link.max_clicks,
        /* disabled */ link.disabled,
        /* updated_at */ link.updated_at.as_microsecond(),
        /* clicks */ link.clicks,
        /* created_at */ link.created_at.as_microsecond(),
    ];
    let mut statement = connection.prepare_cached(OVERWRITE).map_err(unavailable)?;
    let id = statement
        .query_one(parameters, |row| row.get(0))
        .map_err(unavailable)?;
    let kind = ChangeKind::of_update(kept.disabled, link.disabled);
    changes::record_link(connection, kind, link.slug.as_str(), (id, revision), actor).map_err(unavailable)?;
    Ok(Taken::Overwritten(Revision::new(revision)))
}
