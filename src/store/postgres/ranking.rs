//! Links in an order that no index has, and sums over all: every link is read.

use tokio_postgres::types::Type;

use super::links::{column, corrupt, to_link};
use super::patience::within;
use super::pool::{Parameter, Pool};
use crate::domain::{KeyId, Link, Ranking, Slug, Totals};
use crate::store::StoreError;
use crate::store::limits::LONG_LIMIT;

macro_rules! ranked {
    ($order:literal) => {
        concat!(
            "-- ranked_links()
SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links WHERE ($1 IS NULL OR owner = $1) ORDER BY ",
            $order,
            " LIMIT $2 OFFSET $3"
        )
    };
}

const MOST_CLICKS: &str = ranked!("clicks DESC, id DESC");
const FEWEST_CLICKS: &str = ranked!("clicks, id");
const NEWEST: &str = ranked!("id DESC");
const RANDOM: &str = ranked!("random()");

const TOTALS: &str = "-- totals()
SELECT count(*) AS links, coalesce(sum(clicks), 0)::bigint AS clicks FROM links WHERE ($1 IS NULL OR owner = $1)";

pub(super) async fn links(
    reads: &Pool,
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
    let parameters: [Parameter<'_>; 3] = [
        (/* owner */ &owner.map(KeyId::as_str), Type::TEXT),
        (/* limit */ &i64::from(limit), Type::INT8),
        (/* start */ &i64::from(start), Type::INT8),
    ];
    let rows = within(LONG_LIMIT, reads.query(sql, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let links = rows.iter().map(|row| {
        let slug: Slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
        to_link(&slug, row)
    });
    links.collect()
}

pub(super) async fn totals(reads: &Pool, owner: Option<&KeyId>) -> Result<Totals, StoreError> {
    let parameters: [Parameter<'_>; 1] = [(/* owner */ &owner.map(KeyId::as_str), Type::TEXT)];
    let rows = within(LONG_LIMIT, reads.query(TOTALS, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let row = rows.first().ok_or_else(|| corrupt("links")("no row"))?;
    Ok(Totals {
        links: column(row, "links")?,
        clicks: column(row, "clicks")?,
    })
}
