//! The recorded changes: written with each change, read for caches and for the audit list.

use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params, params};

use super::failure::unavailable;
use super::links::{column, corrupt, to_time};
use crate::domain::{
    Actor, AuditCursor, AuditPage, AuditQuery, AuditRecord, ChangeKind, ChangePage, Clock, KeyId, LinkChange,
    Revision, Slug, SystemClock,
};
use crate::store::StoreError;
use crate::store::changes::{WALK, audit_page};

const RECORD_LINK: &str = "-- record_link()
INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const RECORD_KEY: &str = "-- record_key()
INSERT INTO changes (changed_at, kind, actor, key_id) VALUES (?1, ?2, ?3, ?4)";

const RECORD_SESSION: &str = "-- record_session()
INSERT INTO changes (changed_at, kind, actor, key_id) VALUES (?1, ?2, ?3, ?4)";

/// `changes_tail_idx` has this condition.
const CHANGES_SINCE: &str = "-- changes_since()
SELECT slug, revision, changed_at, kind FROM changes
WHERE changed_at >= ?1 AND kind <> 'link.created' AND slug IS NOT NULL
ORDER BY changed_at, id
LIMIT ?2";

/// Walks a bounded number of rows of an index from the newest on, and filters those. The last column is whether a row is
/// one that was asked for: the last one that was walked always comes.
macro_rules! audit {
    ($name:literal, $walked:literal) => {
        concat!(
            "-- ",
            $name,
            "()
SELECT id, changed_at, kind, slug, revision, actor, key_id,
    (:actor IS NULL OR actor = :actor) AND (:kind IS NULL OR kind = :kind) AS held
FROM changes
WHERE ",
            $walked,
            " AND changed_at >= :since AND changed_at < :until AND (changed_at, id) < (:after, :after_id)
ORDER BY changed_at DESC, id DESC
LIMIT :walk"
        )
    };
}

const AUDIT: &str = audit!("audit", "true");
const AUDIT_OF_SLUG: &str = audit!("audit_of_slug", "slug = :slug");

/// The machine's clock is that of the store, in microseconds.
pub(super) fn now() -> i64 {
    SystemClock.now().as_microsecond()
}

/// Records a change of a link, in the transaction that makes it: its id and its revision.
pub(super) fn record_link(
    connection: &Connection,
    kind: ChangeKind,
    slug: &str,
    (id, revision): (i64, i64),
    actor: &Actor,
) -> rusqlite::Result<()> {
    let parameters = params![
        /* changed_at */ now(),
        /* kind */ kind.as_str(),
        /* slug */ slug,
        /* link_id */ id,
        /* revision */ revision,
        /* actor */ actor.to_string(),
    ];
    connection
        .prepare_cached(RECORD_LINK)?
        .execute(parameters)
        .map(drop)
}

/// Records a change of a key, in the transaction that makes it.
pub(super) fn record_key(
    connection: &Connection,
    kind: ChangeKind,
    id: &KeyId,
    actor: &Actor,
) -> rusqlite::Result<()> {
    let parameters = params![
        /* changed_at */ now(),
        /* kind */ kind.as_str(),
        /* actor */ actor.to_string(),
        /* key_id */ id.as_str(),
    ];
    connection
        .prepare_cached(RECORD_KEY)?
        .execute(parameters)
        .map(drop)
}

/// Records what became of a session, in the transaction that does it; `id` is its key, if it is not that of the settings.
pub(super) fn record_session(
    connection: &Connection,
    kind: ChangeKind,
    id: Option<&str>,
    actor: &Actor,
) -> rusqlite::Result<()> {
    let parameters = params![
        /* changed_at */ now(),
        /* kind */ kind.as_str(),
        /* actor */ actor.to_string(),
        /* key_id */ id,
    ];
    connection
        .prepare_cached(RECORD_SESSION)?
        .execute(parameters)
        .map(drop)
}

pub(super) fn since(connection: &Connection, since: Timestamp, limit: u32) -> Result<ChangePage, StoreError> {
    let now = SystemClock.now();
    let mut statement = connection.prepare_cached(CHANGES_SINCE).map_err(unavailable)?;
    let parameters = params![
        /* since */ since.as_microsecond(),
        /* limit and one more */ i64::from(limit) + 1
    ];
    let mut rows = statement.query(parameters).map_err(unavailable)?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let kind = to_kind(row)?;
        changes.push(LinkChange {
            slug: column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?,
            version: LinkChange::version_of(kind, column(row, "revision").map(Revision::new)?),
            changed_at: required_time(row)?,
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

pub(super) fn audit(connection: &Connection, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let micros = |time: Option<Timestamp>, other: i64| time.map_or(other, Timestamp::as_microsecond);
    let sql = if query.slug.is_some() {
        AUDIT_OF_SLUG
    } else {
        AUDIT
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let bound = named_params! {
        ":slug": query.slug.as_ref().map(Slug::as_str),
        ":actor": query.actor.as_ref().map(Actor::to_string),
        ":kind": query.kind.map(ChangeKind::as_str),
        ":since": micros(query.since, i64::MIN),
        ":until": micros(query.until, i64::MAX),
        ":after": micros(query.after.map(AuditCursor::changed_at), i64::MAX),
        ":after_id": query.after.map_or(i64::MAX, AuditCursor::id),
        ":walk": WALK,
    };
    for (name, value) in bound {
        if let Some(at) = statement.parameter_index(name).map_err(unavailable)? {
            statement.raw_bind_parameter(at, value).map_err(unavailable)?;
        }
    }
    let mut rows = statement.raw_query();
    let most = usize::from(query.limit) + 1;
    let (mut walked, mut end, mut found) = (0, None, Vec::new());
    while found.len() < most
        && let Some(row) = rows.next().map_err(unavailable)?
    {
        walked += 1;
        let place = AuditCursor::at(required_time(row)?, column(row, "id")?);
        end = Some(place);
        if column(row, "held")? {
            found.push((place, to_record(row)?));
        }
    }
    Ok(audit_page(found, query.limit, end.filter(|_| walked >= WALK)))
}

fn to_record(row: &Row<'_>) -> Result<AuditRecord, StoreError> {
    let slug: Option<String> = column(row, "slug")?;
    let key_id: Option<String> = column(row, "key_id")?;
    Ok(AuditRecord {
        changed_at: required_time(row)?,
        kind: to_kind(row)?,
        actor: column::<String>(row, "actor")?
            .parse()
            .map_err(corrupt("actor"))?,
        slug: slug
            .map(|text| text.parse())
            .transpose()
            .map_err(corrupt("slug"))?,
        revision: column::<Option<i64>>(row, "revision")?.map(Revision::new),
        key_id: key_id
            .map(|text| text.parse())
            .transpose()
            .map_err(corrupt("key_id"))?,
    })
}

fn to_kind(row: &Row<'_>) -> Result<ChangeKind, StoreError> {
    column::<String>(row, "kind")?.parse().map_err(corrupt("kind"))
}

fn required_time(row: &Row<'_>) -> Result<Timestamp, StoreError> {
    to_time(row, "changed_at")?.ok_or_else(|| corrupt("changed_at")("no time"))
}
