//! Walks over the links of a selection, and takes them down.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, named_params, params};

use super::changes;
use super::failure::unavailable;
use super::links::{column, corrupt, to_link};
use super::list::{TRIGRAM, phrase};
use super::writes::draw_revision;
use crate::domain::{Actor, ChangeKind, KeyId, Link, Redirect, Revision, Selection, Slug};
use crate::store::{Place, Selected, StoreError};

const COLUMNS: &str = "-- select_links()
SELECT links.id, links.slug, revision, links.target, links.title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner
FROM";

// What is walked, oldest first: a set that an index has, and that holds every link that is meant. CROSS JOIN keeps the
// order.
const ALL: &str = "links WHERE links.id > :from ORDER BY links.id LIMIT :limit";
// Of a range of links: the index passes over those of its entries that hold parts of the text alone.
const BY_DOMAIN: &str = "links_search CROSS JOIN links ON links.id = links_search.rowid
WHERE links_search MATCH :domain AND links_search.rowid > :from AND links_search.rowid <= :high
ORDER BY links_search.rowid LIMIT :limit";
const BY_OWNER: &str = "links INDEXED BY links_owner_idx WHERE links.owner = :owner AND links.id > :from ORDER BY links.id LIMIT :limit";
const BY_TAG: &str = "link_tags CROSS JOIN links ON links.id = link_tags.link_id
WHERE link_tags.tag = :tag AND link_tags.link_id > :from ORDER BY link_tags.link_id LIMIT :limit";

const LINK: &str = "-- toggle_links()
SELECT links.id, links.slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links WHERE slug = ?1";

const TOGGLE: &str = "-- toggle_links()
UPDATE links SET disabled = NOT disabled, revision = ?2, updated_at = max(?3, created_at) WHERE slug = ?1";

const SEARCHED: &str = "-- searched_for_domain()
SELECT id FROM links WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";

/// The links that one step of a walk by domain passes over.
const RANGE: i64 = 10_000;

/// The links of a selection, from a place on.
pub(super) fn select(
    connection: &Connection,
    selection: &Selection,
    from: &Place,
    limit: u32,
) -> Result<Selected, StoreError> {
    if let Some(slugs) = &selection.slugs {
        return among(connection, selection, slugs);
    }
    // The index of the search knows where a text stands, though not what it is a part of.
    let domain = selection
        .domain
        .as_ref()
        .map(|domain| domain.as_str())
        .filter(|domain| domain.len() >= TRIGRAM)
        .map(|domain| format!("target : {}", phrase(domain)));
    let owner = selection.owner.as_ref().map(KeyId::as_str);
    let walked = match (&domain, &owner, &selection.tag) {
        (Some(_), _, _) => BY_DOMAIN,
        (None, Some(_), _) => BY_OWNER,
        (None, None, Some(_)) => BY_TAG,
        (None, None, None) => ALL,
    };
    // `None` if the step passes over all that are left.
    let high: Option<i64> = match &domain {
        None => None,
        Some(_) => connection
            .prepare_cached(SEARCHED)
            .and_then(|mut statement| {
                let parameters = params![/* from */ from.id, /* skipped */ RANGE - 1];
                statement.query_row(parameters, |row| row.get(0)).optional()
            })
            .map_err(unavailable)?,
    };
    let mut statement = connection
        .prepare_cached(&format!("{COLUMNS} {walked}"))
        .map_err(unavailable)?;
    let bound = named_params! {
        ":domain": domain, ":owner": owner, ":tag": selection.tag, ":from": from.id, ":limit": limit,
        ":high": high.unwrap_or(i64::MAX),
    };
    for (name, value) in bound {
        if let Some(at) = statement.parameter_index(name).map_err(unavailable)? {
            statement.raw_bind_parameter(at, value).map_err(unavailable)?;
        }
    }
    let mut rows = statement.raw_query();
    let mut selected = Selected::default();
    let (mut seen, mut last) = (0, 0);
    while let Some(row) = rows.next().map_err(unavailable)? {
        (seen, last) = (seen + 1, column(row, "id")?);
        let link = read(row)?;
        if selection.holds(&link) {
            selected.slugs.push(link.slug);
        }
    }
    let next = if seen == limit { Some(last) } else { high };
    selected.next = next.map(|id| Place {
        key: String::new(),
        id,
    });
    Ok(selected)
}

fn among(connection: &Connection, selection: &Selection, slugs: &[Slug]) -> Result<Selected, StoreError> {
    let mut selected = Selected::default();
    for slug in slugs {
        if held(connection, selection, slug)?.is_some() && !selected.slugs.contains(slug) {
            selected.slugs.push(slug.clone());
        }
    }
    Ok(selected)
}

pub(super) fn toggle(
    connection: &mut Connection,
    selection: &Selection,
    slugs: &[Slug],
    now: Timestamp,
    actor: &Actor,
) -> Result<Vec<Redirect>, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let mut toggled = Vec::with_capacity(slugs.len());
    for slug in slugs {
        let Some((id, link)) = held(&transaction, selection, slug)? else {
            continue;
        };
        let revision = draw_revision(&transaction, link.revision.get()).map_err(unavailable)?;
        let parameters = params![
            /* slug */ slug.as_str(),
            /* revision */ revision,
            /* now */ now.as_microsecond()
        ];
        transaction
            .prepare_cached(TOGGLE)
            .and_then(|mut statement| statement.execute(parameters))
            .map_err(unavailable)?;
        let kind = ChangeKind::of_update(link.disabled, !link.disabled);
        changes::record_link(&transaction, kind, slug.as_str(), (id, revision), actor)
            .map_err(unavailable)?;
        toggled.push(Redirect {
            revision: Revision::new(revision),
            disabled: !link.disabled,
            ..link.redirect()
        });
    }
    transaction.commit().map_err(unavailable)?;
    Ok(toggled)
}

/// The link called `slug` and its id, if it is meant.
fn held(
    connection: &Connection,
    selection: &Selection,
    slug: &Slug,
) -> Result<Option<(i64, Link)>, StoreError> {
    let mut statement = connection.prepare_cached(LINK).map_err(unavailable)?;
    let found = statement
        .query_row(params![/* slug */ slug.as_str()], |row| {
            Ok((row.get(0)?, read(row)))
        })
        .optional()
        .map_err(unavailable)?;
    let Some((id, link)) = found else { return Ok(None) };
    let link = link?;
    Ok(selection.holds(&link).then_some((id, link)))
}

fn read(row: &Row<'_>) -> Result<Link, StoreError> {
    let slug: Slug = column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?;
    to_link(slug, row)
}
