//! Lists of links.

use rusqlite::{Connection, named_params};

use super::failure::unavailable;
use super::links::{column, corrupt, to_link};
use crate::domain::{Cursor, KeyId, LinkPage, LinkQuery, LinkState, Slug};
use crate::store::StoreError;

const COLUMNS: &str = "-- links()
SELECT links.id, links.slug, revision, links.target, links.title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner
FROM";

// What is walked, newest first: the smallest set that holds every link asked for. CROSS JOIN keeps the order.
const ALL: &str = "links WHERE links.id < :before";
const BY_TEXT: &str = "links_search CROSS JOIN links ON links.id = links_search.rowid
WHERE links_search MATCH :text AND links_search.rowid < :before";
const BY_TAG: &str = "link_tags CROSS JOIN links ON links.id = link_tags.link_id
WHERE link_tags.tag = :tag AND link_tags.link_id < :before";

const HAS_TEXT: &str = "AND (links.slug LIKE :text ESCAPE '\\' OR links.target LIKE :text ESCAPE '\\'
    OR links.title LIKE :text ESCAPE '\\')";
const HAS_TAG: &str =
    "AND EXISTS (SELECT 1 FROM link_tags WHERE link_tags.tag = :tag AND link_tags.link_id = links.id)";
const HAS_OWNER: &str = "AND owner = :owner";
const IS_LIVE: &str = "AND disabled = 0 AND (valid_from IS NULL OR valid_from <= :now)
    AND (expires_at IS NULL OR expires_at > :now) AND (max_clicks IS NULL OR clicks < max_clicks)";
const IS_SCHEDULED: &str =
    "AND disabled = 0 AND valid_from > :now AND (max_clicks IS NULL OR clicks < max_clicks)";
const IS_EXPIRED: &str = "AND disabled = 0 AND (expires_at <= :now OR clicks >= max_clicks)";
const IS_DISABLED: &str = "AND disabled = 1";

/// The index of the search knows no text of fewer characters.
pub(super) const TRIGRAM: usize = 3;

pub(super) fn links(connection: &Connection, query: &LinkQuery) -> Result<LinkPage, StoreError> {
    let indexed = query
        .text
        .as_ref()
        .is_some_and(|text| text.chars().count() >= TRIGRAM);
    let text = query
        .text
        .as_deref()
        .map(|text| if indexed { phrase(text) } else { pattern(text) });
    // Every parameter is used, whatever is asked for.
    const UNUSED: &str = "AND (:text IS :text OR :tag IS :tag OR :owner IS :owner OR :now IS :now)";
    let (walked, order) = match (&query.tag, indexed) {
        (_, true) => (BY_TEXT, "ORDER BY links_search.rowid DESC"),
        (Some(_), false) => (BY_TAG, "ORDER BY link_tags.link_id DESC"),
        (None, false) => (ALL, "ORDER BY links.id DESC"),
    };
    let state = query.state.map(|state| match state {
        LinkState::Live => IS_LIVE,
        LinkState::Scheduled => IS_SCHEDULED,
        LinkState::Expired => IS_EXPIRED,
        LinkState::Disabled => IS_DISABLED,
    });
    let parts = [
        Some(COLUMNS),
        Some(walked),
        Some(UNUSED),
        (text.is_some() && !indexed).then_some(HAS_TEXT),
        (query.tag.is_some() && indexed).then_some(HAS_TAG),
        query.owner.is_some().then_some(HAS_OWNER),
        state,
        Some(order),
        Some("LIMIT :limit"),
    ];
    let sql = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let mut statement = connection.prepare_cached(&sql).map_err(unavailable)?;
    let mut rows = statement
        .query(named_params! {
            ":before": query.after.map_or(i64::MAX, Cursor::number),
            ":text": text,
            ":tag": query.tag,
            ":owner": query.owner.as_ref().map(KeyId::as_str),
            ":now": query.now.as_microsecond(),
            ":limit": i64::from(query.limit) + 1,
        })
        .map_err(unavailable)?;
    let mut links = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let slug: Slug = column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?;
        links.push((Cursor::at(column(row, "id")?), to_link(slug, row)?));
    }
    Ok(LinkPage::of(links, query.limit))
}

/// A search for what holds `text`, each of its characters meaning itself.
pub(super) fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The same as a pattern.
fn pattern(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
