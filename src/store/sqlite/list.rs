//! Lists of links, in bounded steps.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::failure::unavailable;
use super::links::{column, corrupt, to_link};
use crate::domain::{Cursor, KeyId, LinkQuery, LinkState, SearchText, Slug};
use crate::store::StoreError;
use crate::store::walk::{Step, StepPlan};

macro_rules! columns {
    () => {
        "links.id, links.slug, revision, links.target, links.title, tags, redirect_status, cache_seconds,
    forward_query, valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner"
    };
}

/// Whether a link is asked for.
macro_rules! asked {
    ($text:literal) => {
        concat!(
            $text,
            "
    AND (:tag IS NULL OR EXISTS (
        SELECT 1 FROM link_tags WHERE link_tags.tag = :tag AND link_tags.link_id = links.id))
    AND (:owner IS NULL OR owner = :owner)
    AND CASE :state
        WHEN 'disabled' THEN disabled = 1
        WHEN 'expired' THEN disabled = 0 AND (expires_at <= :now OR clicks >= max_clicks)
        WHEN 'scheduled' THEN disabled = 0 AND valid_from > :now AND (max_clicks IS NULL OR clicks < max_clicks)
        WHEN 'live' THEN disabled = 0 AND (valid_from IS NULL OR valid_from <= :now)
            AND (expires_at IS NULL OR expires_at > :now) AND (max_clicks IS NULL OR clicks < max_clicks)
        ELSE 1 END"
        )
    };
}

/// Examines the `:step` newest links of a set that an index holds in this order, and says of each whether it is asked
/// for.
macro_rules! walk {
    ($name:literal, $walked:literal, $order:literal, $asked:expr) => {
        concat!(
            "-- ", $name, "()\nSELECT ", columns!(), ",\n    (", $asked, ") IS TRUE AS asked\nFROM ", $walked,
            "\nORDER BY ", $order, " DESC LIMIT :step"
        )
    };
    ($name:literal, $walked:literal, $order:literal) => {
        walk!(
            $name,
            $walked,
            $order,
            asked!(
                "(:pattern IS NULL OR links.slug LIKE :pattern ESCAPE '\\' OR links.target LIKE :pattern ESCAPE '\\'
        OR links.title LIKE :pattern ESCAPE '\\' OR links.target LIKE :first ESCAPE '\\'
        OR links.target LIKE :second ESCAPE '\\' OR links.target LIKE :third ESCAPE '\\')"
            )
        )
    };
}

const LINKS: &str = walk!("list_links", "links WHERE links.id < :before", "links.id");

const LINKS_OF_OWNER: &str = walk!(
    "list_links_of_owner",
    "links INDEXED BY links_owner_idx WHERE owner = :owner AND links.id < :before",
    "links.id"
);

// CROSS JOIN keeps the order.
const LINKS_WITH_TAG: &str = walk!(
    "list_links_with_tag",
    "link_tags CROSS JOIN links ON links.id = link_tags.link_id
WHERE link_tags.tag = :tag AND link_tags.link_id < :before",
    "link_tags.link_id"
);

const DISABLED_LINKS: &str = walk!(
    "list_disabled_links",
    "links INDEXED BY links_disabled_idx WHERE disabled = 1 AND links.id < :before",
    "links.id"
);

const SCHEDULED_LINKS: &str = walk!(
    "list_scheduled_links",
    "links INDEXED BY links_scheduled_idx WHERE valid_from IS NOT NULL AND links.id < :before",
    "links.id"
);

const EXPIRING_LINKS: &str = walk!(
    "list_expiring_links",
    "links INDEXED BY links_expiring_idx
WHERE (expires_at IS NOT NULL OR max_clicks IS NOT NULL) AND links.id < :before",
    "links.id"
);

// Of a range of links: the index passes over those of its entries that hold parts of the text alone.
const LINKS_WITH_TEXT: &str = walk!(
    "list_links_with_text",
    "links_search CROSS JOIN links ON links.id = links_search.rowid
WHERE links_search MATCH :pattern AND links_search.rowid < :before AND links_search.rowid >= :low",
    "links_search.rowid",
    asked!("1")
);

const SEARCHED: &str = "-- searched_links()
SELECT id FROM links WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";

/// The index of the search knows no text of fewer characters.
pub(super) const TRIGRAM: usize = 3;

/// How many links a step of a search passes over for each one that another step examines: most hold no part of the text.
const SPARSE: i64 = 8;

/// A step of a walk.
pub(super) fn step(connection: &Connection, query: &LinkQuery, plan: StepPlan) -> Result<Step, StoreError> {
    let indexed = query
        .text
        .as_ref()
        .is_some_and(|text| text.typed().chars().count() >= TRIGRAM);
    let sought = query.text.as_ref().map(|text| {
        if indexed {
            search(text)
        } else {
            pattern(text.typed())
        }
    });
    let spelling = |at: usize| Some(pattern(query.text.as_ref()?.spellings().get(at)?));
    let sql = if indexed {
        LINKS_WITH_TEXT
    } else {
        statement(query)
    };
    let limit = plan.examined;
    let low = if indexed {
        searched(connection, plan.before, limit * SPARSE)?
    } else {
        None
    };
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let values = named_params! {
        ":before": plan.before,
        ":pattern": sought,
        ":first": spelling(0),
        ":second": spelling(1),
        ":third": spelling(2),
        ":tag": query.tag,
        ":owner": query.owner.as_ref().map(KeyId::as_str),
        ":state": query.state.map(state),
        ":now": query.now.as_microsecond(),
        ":low": low.unwrap_or_default(),
        ":step": limit,
    };
    for (name, value) in values {
        // Not every statement has each of them.
        if let Some(at) = statement.parameter_index(name).map_err(unavailable)? {
            statement.raw_bind_parameter(at, value).map_err(unavailable)?;
        }
    }
    let mut rows = statement.raw_query();
    let mut links = Vec::new();
    let (mut examined, mut last) = (0, 0);
    while i64::try_from(links.len()).is_ok_and(|found| found < plan.wanted)
        && let Some(row) = rows.next().map_err(unavailable)?
    {
        examined += 1;
        last = column(row, "id")?;
        if column(row, "asked")? {
            let slug: Slug = column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?;
            links.push((Cursor::at(last), to_link(slug, row)?));
        }
    }
    let bound = if examined == limit { Some(last) } else { low };
    Ok(Step { links, bound })
}

/// The smallest set that holds every link asked for, as far as the kind of the question shows.
fn statement(query: &LinkQuery) -> &'static str {
    match query {
        LinkQuery { tag: Some(_), .. } => LINKS_WITH_TAG,
        LinkQuery {
            state: Some(LinkState::Disabled),
            ..
        } => DISABLED_LINKS,
        LinkQuery {
            state: Some(LinkState::Scheduled),
            ..
        } => SCHEDULED_LINKS,
        LinkQuery { owner: Some(_), .. } => LINKS_OF_OWNER,
        LinkQuery {
            state: Some(LinkState::Expired),
            ..
        } => EXPIRING_LINKS,
        _ => LINKS,
    }
}

/// The oldest link that a step of a search passes over; `None` if it passes over all older ones.
fn searched(connection: &Connection, before: i64, number: i64) -> Result<Option<i64>, StoreError> {
    let mut statement = connection.prepare_cached(SEARCHED).map_err(unavailable)?;
    statement
        .query_row(params![/* before */ before, /* skipped */ number - 1], |row| {
            row.get(0)
        })
        .optional()
        .map_err(unavailable)
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Live => "live",
        LinkState::Scheduled => "scheduled",
        LinkState::Expired => "expired",
        LinkState::Disabled => "disabled",
    }
}

/// A search for what holds a text, or one of its spellings in a target.
fn search(text: &SearchText) -> String {
    text.spellings()
        .iter()
        .fold(phrase(text.typed()), |search, spelling| {
            format!("{search} OR target : {}", phrase(spelling))
        })
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
