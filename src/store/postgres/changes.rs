//! Reads of the recorded changes: for caches, and for the audit list.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::failure::{Failure, Remedy};
use super::links::{column, corrupt};
use super::patience::within;
use super::pool::{Parameter, Pool, Queue};
use crate::domain::{
    Actor, AuditCursor, AuditPage, AuditQuery, AuditRecord, ChangeKind, ChangePage, KeyId, LinkChange,
    Revision, Slug,
};
use crate::store::StoreError;
use crate::store::changes::{WALK, audit_page};
use crate::store::limits::READ_LIMIT;

/// The time is that of the statement's beginning, which is before what it sees. `changes_tail_idx` has its condition.
const CHANGES_SINCE: &str = "-- changes_since()
SELECT statement_timestamp() AS now, page.slug, page.revision, page.changed_at, page.kind
FROM (SELECT 1) AS one LEFT JOIN (
    SELECT id, slug, revision, changed_at, kind FROM changes
    WHERE changed_at >= $1 AND kind <> 'link.created' AND slug IS NOT NULL
    ORDER BY changed_at, id
    LIMIT $2
) AS page ON true
ORDER BY page.changed_at, page.id";

/// Walks a bounded number of rows of an index from the newest on, and filters those. `ends` is the last that it walked.
macro_rules! audit {
    ($name:literal, $walked:literal) => {
        concat!(
            "-- ",
            $name,
            "()
WITH walked AS MATERIALIZED (
    SELECT id, changed_at, kind, slug, revision, actor, key_id FROM changes
    WHERE ",
            $walked,
            " AND changed_at >= coalesce($2, '-infinity') AND changed_at < coalesce($3, 'infinity')
        AND (changed_at, id) < (coalesce($4, 'infinity'), $5)
    ORDER BY changed_at DESC, id DESC
    LIMIT $6
), ends AS (
    SELECT changed_at AS end_at, id AS end_id, (SELECT count(*) FROM walked) AS walked FROM walked
    ORDER BY changed_at, id
    LIMIT 1
), found AS (
    SELECT id, changed_at, kind, slug, revision, actor, key_id FROM walked
    WHERE ($7 IS NULL OR actor = $7) AND ($8 IS NULL OR kind = $8)
    ORDER BY changed_at DESC, id DESC
    LIMIT $9
)
SELECT end_at, end_id, walked, found.id, found.changed_at, found.kind, found.slug, found.revision, found.actor,
    found.key_id
FROM ends LEFT JOIN found ON true
ORDER BY found.changed_at DESC, found.id DESC"
        )
    };
}

const AUDIT: &str = audit!("audit", "$1::text IS NULL");
const AUDIT_OF_SLUG: &str = audit!("audit_of_slug", "slug = $1");

pub(super) async fn since(reads: &Pool, since: Timestamp, limit: u32) -> Result<ChangePage, StoreError> {
    let parameters: [Parameter<'_>; 2] = [
        (/* since */ &since, Type::TIMESTAMPTZ),
        (/* limit and one more */ &(i64::from(limit) + 1), Type::INT8),
    ];
    let rows = read(reads, CHANGES_SINCE, &parameters).await?;
    let first = rows.first().ok_or_else(|| corrupt("now")("no row"))?;
    let now = column(first, "now")?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(slug) = column::<Option<&str>>(row, "slug")? else {
            continue;
        };
        let kind = to_kind(row)?;
        changes.push(LinkChange {
            slug: slug.parse().map_err(corrupt("slug"))?,
            version: LinkChange::version_of(kind, column(row, "revision").map(Revision::new)?),
            changed_at: column(row, "changed_at")?,
            kind,
        });
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let complete = changes.len() <= limit;
    changes.truncate(limit);
    Ok(ChangePage {
        changes,
        now,
        complete,
    })
}

pub(super) async fn audit(reads: &Pool, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let after = query.after;
    let parameters: [Parameter<'_>; 9] = [
        (/* slug */ &query.slug.as_ref().map(Slug::as_str), Type::TEXT),
        (/* since */ &query.since, Type::TIMESTAMPTZ),
        (/* until */ &query.until, Type::TIMESTAMPTZ),
        (
            /* after */ &after.map(AuditCursor::changed_at),
            Type::TIMESTAMPTZ,
        ),
        (
            /* after */ &after.map_or(i64::MAX, AuditCursor::id),
            Type::INT8,
        ),
        (/* walk */ &i64::from(WALK), Type::INT8),
        (
            /* actor */ &query.actor.as_ref().map(Actor::to_string),
            Type::TEXT,
        ),
        (/* kind */ &query.kind.map(ChangeKind::as_str), Type::TEXT),
        (
            /* limit and one more */ &(i64::from(query.limit) + 1),
            Type::INT8,
        ),
    ];
    let sql = if query.slug.is_some() {
        AUDIT_OF_SLUG
    } else {
        AUDIT
    };
    let rows = within(READ_LIMIT, reads.query(sql, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let Some(first) = rows.first() else {
        return Ok(audit_page(Vec::new(), query.limit, None));
    };
    let end = AuditCursor::at(column(first, "end_at")?, column(first, "end_id")?);
    let more = column::<i64>(first, "walked")? >= i64::from(WALK);
    let records = rows
        .iter()
        .filter_map(|row| to_record(row).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(audit_page(records, query.limit, more.then_some(end)))
}

/// Only reads: once more if the connection turned out dead.
async fn read(reads: &Pool, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
    let reading = async {
        match reads.query_kept(Queue::Long, sql, parameters).await {
            Err(Failure {
                remedy: Remedy::AnotherConnection,
                ..
            }) => reads.query_kept(Queue::Long, sql, parameters).await,
            result => result,
        }
    };
    within(READ_LIMIT, reading).await.map_err(|failure| failure.error)
}

fn to_record(row: &Row) -> Result<Option<(AuditCursor, AuditRecord)>, StoreError> {
    let Some(id) = column::<Option<i64>>(row, "id")? else {
        return Ok(None);
    };
    let changed_at = column(row, "changed_at")?;
    let slug: Option<&str> = column(row, "slug")?;
    let key_id: Option<&str> = column(row, "key_id")?;
    let record = AuditRecord {
        changed_at,
        kind: to_kind(row)?,
        actor: column::<&str>(row, "actor")?.parse().map_err(corrupt("actor"))?,
        slug: slug.map(str::parse).transpose().map_err(corrupt("slug"))?,
        revision: column::<Option<i64>>(row, "revision")?.map(Revision::new),
        key_id: key_id
            .map(str::parse::<KeyId>)
            .transpose()
            .map_err(corrupt("key_id"))?,
    };
    Ok(Some((AuditCursor::at(changed_at, id), record)))
}

fn to_kind(row: &Row) -> Result<ChangeKind, StoreError> {
    column::<&str>(row, "kind")?.parse().map_err(corrupt("kind"))
}
