//! Walks over the links of a selection, and takes them down.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::links::{column, corrupt, to_redirect};
use super::patience::within;
use super::pool::{Parameter, Pool};
use crate::domain::{Actor, Domain, KeyId, Redirect, Selection, Slug};
use crate::store::limits::LONG_LIMIT;
use crate::store::{Place, Selected, StoreError};

/// The host backwards, with one dot at its end: the hosts of a domain are next to one another. The index
/// `links_host_idx` is over this very expression.
macro_rules! host {
    () => {
        "((reverse(rtrim(regexp_replace(split_part(target, '/', 3), ':[0-9]+$', ''), '.')) || '.') COLLATE \"C\")"
    };
}

/// Whether a link is meant.
macro_rules! held {
    () => {
        concat!(
            "disabled = $5 AND ($1 IS NULL OR (",
            host!(),
            " >= $1 AND ",
            host!(),
            " < $2)) AND ($3 IS NULL OR owner = $3) AND ($4 IS NULL OR tags @> ARRAY[$4])"
        )
    };
}

/// Looks at some links in an order that an index has, whether they are meant or not: a step costs the same however few
/// of them are. `OFFSET 0` keeps the planner from looking for the meant ones first.
macro_rules! walk {
    ($name:literal, $key:expr, $walked:expr, $order:literal) => {
        concat!(
            "-- ",
            $name,
            "()\nSELECT slug, id, key, coalesce(held, false) AS held FROM (SELECT slug, id, ",
            $key,
            " AS key, ",
            held!(),
            " AS held FROM links WHERE ",
            $walked,
            " ORDER BY ",
            $order,
            " LIMIT $8 OFFSET 0) AS walked ORDER BY key, id"
        )
    };
}

// `slug = ANY` would be looked for in the index of the search too, which takes long while it has entries to sort in.
const BY_SLUG: &str = walk!(
    "selected_slugs",
    "''",
    "slug IN (SELECT unnest($9)) AND $6 = '' AND $7 >= 0",
    "id"
);
const BY_DOMAIN: &str = walk!(
    "select_links_of_domain",
    host!(),
    concat!(
        "(",
        host!(),
        ", id) > ($6, $7) AND ",
        host!(),
        " < $2 AND $9 IS NULL"
    ),
    "key, id"
);
// As a row, and in the order of the index: by `id` alone, the planner might walk the primary key.
const BY_OWNER: &str = walk!(
    "select_links_of_owner",
    "''",
    "(owner, id) > ($3, $7) AND owner <= $3 AND $6 = '' AND $9 IS NULL",
    "owner, id"
);
const BY_TAG: &str = concat!(
    "-- select_links_with_tag()
SELECT slug, id, '' AS key, coalesce(",
    held!(),
    ", false) AS held
FROM (
    SELECT link_id FROM link_tags
    WHERE tag = $4 AND link_id > $7 AND $6 = '' AND $9 IS NULL ORDER BY link_id LIMIT $8
) AS tagged
CROSS JOIN LATERAL (
    SELECT slug, id, target, tags, owner, disabled FROM links WHERE id = link_id OFFSET 0
) AS links
ORDER BY id"
);

/// Locks the links in the order of their slugs, as batches of clicks do: neither waits for the other in a circle. They
/// are found by their slugs alone, because the planner expects too few to be meant.
const TOGGLE: &str = concat!(
    "-- toggle_links()
WITH named AS MATERIALIZED (
    SELECT id, ",
    held!(),
    " AS held FROM links WHERE slug IN (SELECT unnest($6)) ORDER BY slug FOR NO KEY UPDATE
), changed AS (
    UPDATE links SET disabled = NOT $5, revision = next_revision(revision), updated_at = greatest($7, created_at)
    FROM named WHERE links.id = named.id AND named.held
    RETURNING links.id, links.slug, revision, target, redirect_status, cache_seconds, forward_query, valid_from,
        expires_at, max_clicks IS NOT NULL AS limited, disabled
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), CASE WHEN disabled THEN 'link.disabled' ELSE 'link.enabled' END, slug, id, revision, $8
    FROM changed
)
SELECT slug, revision, target, redirect_status, cache_seconds, forward_query, valid_from, expires_at, limited, disabled
FROM changed"
);

/// A selection as the statements take it.
struct Filter<'a> {
    low: Option<String>,
    high: Option<String>,
    owner: Option<&'a str>,
    tag: Option<&'a str>,
    disabled: bool,
}

impl<'a> Filter<'a> {
    fn of(selection: &'a Selection) -> Self {
        let domain = selection.domain.as_ref().map(backwards);
        Self {
            // `/` comes right after the dot.
            high: domain.as_ref().map(|domain| format!("{domain}/")),
            low: domain.map(|domain| format!("{domain}.")),
            owner: selection.owner.as_ref().map(KeyId::as_str),
            tag: selection.tag.as_deref(),
            disabled: selection.disabled,
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 5] {
        [
            (/* low */ &self.low, Type::TEXT),
            (/* high */ &self.high, Type::TEXT),
            (/* owner */ &self.owner, Type::TEXT),
            (/* tag */ &self.tag, Type::TEXT),
            (/* disabled */ &self.disabled, Type::BOOL),
        ]
    }
}

fn backwards(domain: &Domain) -> String {
    domain.as_str().chars().rev().collect()
}

pub(super) async fn select(
    reads: &Pool,
    selection: &Selection,
    from: &Place,
    limit: u32,
) -> Result<Selected, StoreError> {
    let filter = Filter::of(selection);
    let sql = match selection {
        Selection { slugs: Some(_), .. } => BY_SLUG,
        Selection { domain: Some(_), .. } => BY_DOMAIN,
        Selection { owner: Some(_), .. } => BY_OWNER,
        Selection { tag: Some(_), .. } => BY_TAG,
        // Everything is not what anybody means.
        _ => return Ok(Selected::default()),
    };
    let key = match (&filter.low, sql == BY_DOMAIN) {
        (Some(low), true) if from.key.is_empty() => low,
        _ => &from.key,
    };
    let slugs = selection
        .slugs
        .as_ref()
        .map(|slugs| slugs.iter().map(Slug::as_str).collect::<Vec<_>>());
    let limit = if slugs.is_some() { u32::MAX } else { limit };
    let limit = i64::from(limit);
    let further: [Parameter<'_>; 4] = [
        (/* from key */ key, Type::TEXT),
        (/* from id */ &from.id, Type::INT8),
        (/* limit */ &limit, Type::INT8),
        (/* slugs */ &slugs, Type::TEXT_ARRAY),
    ];
    let parameters: Vec<Parameter<'_>> = filter.parameters().into_iter().chain(further).collect();
    let rows = within(LONG_LIMIT, reads.query(sql, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let mut selected = Selected::default();
    for row in &rows {
        if column(row, "held")? {
            let slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
            selected.slugs.push(slug);
        }
    }
    if let Some(last) = rows.last()
        && i64::try_from(rows.len()).is_ok_and(|rows| rows == limit)
    {
        selected.next = Some(Place {
            key: column(last, "key")?,
            id: column(last, "id")?,
        });
    }
    Ok(selected)
}

pub(super) async fn toggle(
    writes: &Pool,
    selection: &Selection,
    slugs: &[Slug],
    now: Timestamp,
    actor: &Actor,
) -> Result<Vec<Redirect>, StoreError> {
    let filter = Filter::of(selection);
    let slugs: Vec<&str> = slugs.iter().map(Slug::as_str).collect();
    let further: [Parameter<'_>; 3] = [
        (/* slugs */ &slugs, Type::TEXT_ARRAY),
        (/* now */ &now, Type::TIMESTAMPTZ),
        (/* actor */ &actor.to_string(), Type::TEXT),
    ];
    let parameters: Vec<Parameter<'_>> = filter.parameters().into_iter().chain(further).collect();
    let rows = within(LONG_LIMIT, writes.query(TOGGLE, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let redirects = rows.iter().map(|row| {
        let slug: Slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
        to_redirect(&slug, row)
    });
    redirects.collect()
}
