//! Links in an order that no index has, and sums over all: every link is read.

use rusqlite::{Connection, params};

use super::failure::unavailable;
use super::links::{column, corrupt, to_link};
use crate::domain::{KeyId, Link, Ranking, Slug, Totals};
use crate::store::StoreError;

macro_rules! ranked {
    ($order:literal) => {
        concat!(
            "-- ranked_links()
SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links WHERE (?1 IS NULL OR owner = ?1) ORDER BY ",
            $order,
            " LIMIT ?2 OFFSET ?3"
        )
    };
}

const MOST_CLICKS: &str = ranked!("clicks DESC, id DESC");
const FEWEST_CLICKS: &str = ranked!("clicks, id");
const NEWEST: &str = ranked!("id DESC");
const RANDOM: &str = ranked!("random()");

const TOTALS: &str = "-- totals()
SELECT count(*) AS links, coalesce(sum(clicks), 0) AS clicks FROM links WHERE (?1 IS NULL OR owner = ?1)";

pub(super) fn links(
    connection: &Connection,
    owner: Option<&KeyId>,
    ranking: Ranking,
    start: u32,
    limit: u32,
) -> Result<Vec<Link>, StoreError> {
    let sql = match ranking {
        Ranking::MostClicks => MOST_CLICKS,
        Ranking::FewestClicks => FEWEST_CLICKS,
        Ranking::Newest => NEWEST,
        Ranking::Random => RANDOM,
    };
    let parameters = params![
        /* owner */ owner.map(KeyId::as_str),
        /* limit */ limit,
        /* start */ start
    ];
    let mut statement = connection.prepare_cached(sql).map_err(unavailable)?;
    let mut rows = statement.query(parameters).map_err(unavailable)?;
    let mut links = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let slug: Slug = column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?;
        links.push(to_link(slug, row)?);
    }
    Ok(links)
}

pub(super) fn totals(connection: &Connection, owner: Option<&KeyId>) -> Result<Totals, StoreError> {
    let mut statement = connection.prepare_cached(TOTALS).map_err(unavailable)?;
    let totals = statement.query_one(params![/* owner */ owner.map(KeyId::as_str)], |row| {
        Ok(Totals {
            links: row.get("links")?,
            clicks: row.get("clicks")?,
        })
    });
    totals.map_err(unavailable)
}
