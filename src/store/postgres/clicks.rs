//! Clicks and their sums, a transaction for each batch.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::failure::{Failure, Remedy};
use super::pool::{Parameter, Pool};
use super::work::Work;
use crate::domain::{Click, ClickBatch, Slug};
use crate::store::StoreError;
use crate::store::rollup::{Alike, LinkId, Rollup};

// Waits for an earlier try of the same batch whose end nobody saw.
const RECORD_BATCH: &str = "-- record_batch()
INSERT INTO click_batches (id, recorded_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";

// In one order, so that two batches never wait for each other; from here on, no other batch touches the sums
// of these links. (`slug = ANY` would be looked for in the index of the search too, which takes long while it has
// entries to sort in.)
const LOCK_LINKS: &str = "-- lock_links()
SELECT id, slug FROM links WHERE slug IN (SELECT unnest($1::text[])) ORDER BY slug FOR NO KEY UPDATE";

const APPEND: &str = "-- append()
INSERT INTO clicks
    (clicked_at, link_id, bot, visitor, referrer, browser, system, device, country, language, scan, number)
SELECT clicked_at, link_id, bot, visitor, referrer, browser, system, device, country, language, scan, number
FROM unnest($1::timestamptz[], $2::bigint[], $3::boolean[], $4::bigint[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::boolean[], $12::integer[])
    AS c (clicked_at, link_id, bot, visitor, referrer, browser, system, device, country, language, scan, number)";

const SEE_VISITORS: &str = "-- see_visitors()
INSERT INTO click_visitors (day, link_id, visitor)
SELECT day, link_id, visitor FROM unnest($1::timestamptz[], $2::bigint[], $3::bigint[]) AS v (day, link_id, visitor)
ON CONFLICT (day, link_id, visitor) DO NOTHING
RETURNING day, link_id, visitor";

const ADD_HOURS: &str = "-- add_hours()
INSERT INTO click_hours AS kept (link_id, start, clicks, bots, visitors, scans)
SELECT link_id, start, clicks, bots, visitors, scans
FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS h (link_id, start, clicks, bots, visitors, scans)
ON CONFLICT (link_id, start) DO UPDATE SET clicks = kept.clicks + excluded.clicks,
    bots = kept.bots + excluded.bots, visitors = kept.visitors + excluded.visitors,
    scans = kept.scans + excluded.scans";

const WAIT_FOR_SUMS: &str = "-- wait_for_sums()
INSERT INTO unsummed_clicks (link_id, start, referrer, browser, system, device, country, language, clicks)
SELECT link_id, start, referrer, browser, system, device, country, language, clicks
FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bigint[]) AS c (link_id, start, referrer, browser, system, device, country, language, clicks)";

const ADD_TOTALS: &str = "-- add_totals()
UPDATE links SET clicks = links.clicks + t.clicks
FROM unnest($1::bigint[], $2::bigint[]) AS t (id, clicks) WHERE links.id = t.id";

const KEEP_SECRET: &str = "-- keep_secret()
INSERT INTO visitor_secrets (day, secret) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING";

const SECRET: &str = "-- secret()
SELECT secret FROM visitor_secrets WHERE day = $1";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < $1";

/// Keeps a batch; does nothing if it was kept before.
pub(super) async fn record(pool: &Pool, batch: &ClickBatch) -> Result<(), Failure> {
    let work = Work::begin(pool).await?;
    let parameters: [Parameter<'_>; 2] = [
        (/* id */ &batch.id, Type::TEXT),
        (/* recorded_at */ &batch.made_at, Type::TIMESTAMPTZ),
    ];
    if work.execute(RECORD_BATCH, &parameters).await? == 1 {
        let ids = lock_links(&work, batch).await?;
        let mut rollup = Rollup::of(&batch.clicks, &ids);
        append(&work, batch, &ids).await?;
        see_visitors(&work, &mut rollup).await?;
        add(&work, &rollup).await?;
    }
    work.commit().await?;
    Ok(())
}

async fn lock_links(work: &Work<'_>, batch: &ClickBatch) -> Result<HashMap<Slug, LinkId>, Failure> {
    let slugs: BTreeSet<&str> = batch.clicks.iter().map(|click| click.slug.as_str()).collect();
    let slugs: Vec<&str> = slugs.into_iter().collect();
    let rows = work
        .query_kept(LOCK_LINKS, &[(/* slugs */ &slugs, Type::TEXT_ARRAY)])
        .await?;
    let mut ids = HashMap::new();
    for row in &rows {
        if let Ok(slug) = column::<&str>(row, "slug")?.parse() {
            ids.insert(slug, column(row, "id")?);
        }
    }
    Ok(ids)
}

async fn append(work: &Work<'_>, batch: &ClickBatch, ids: &HashMap<Slug, LinkId>) -> Result<(), Failure> {
    let (links, clicks): (Vec<i64>, Vec<&Click>) = batch
        .clicks
        .iter()
        .filter_map(|click| Some((*ids.get(&click.slug)?, click)))
        .unzip();
    let column = |text: fn(&Click) -> &str| -> Vec<&str> { clicks.iter().map(|click| text(click)).collect() };
    let times: Vec<Timestamp> = clicks.iter().map(|click| click.at).collect();
    let bots: Vec<bool> = clicks.iter().map(|click| click.bot).collect();
    let scans: Vec<bool> = clicks.iter().map(|click| click.scan).collect();
    let visitors: Vec<Option<i64>> = clicks
        .iter()
        .map(|click| (!click.bot).then_some(click.visitor))
        .collect();
    let numbers: Vec<i32> = clicks
        .iter()
        .map(|click| i32::try_from(click.number).unwrap_or(i32::MAX))
        .collect();
    let countries: Vec<Option<&str>> = clicks.iter().map(|click| click.country.as_deref()).collect();
    let parameters: [Parameter<'_>; 12] = [
        (/* clicked_at */ &times, Type::TIMESTAMPTZ_ARRAY),
        (/* link_id */ &links, Type::INT8_ARRAY),
        (/* bot */ &bots, Type::BOOL_ARRAY),
        (/* visitor */ &visitors, Type::INT8_ARRAY),
        (
            /* referrer */ &column(|click| &click.referrer),
            Type::TEXT_ARRAY,
        ),
        (
            /* browser */ &column(|click| click.browser),
            Type::TEXT_ARRAY,
        ),
        (/* system */ &column(|click| click.system), Type::TEXT_ARRAY),
        (/* device */ &column(|click| click.device), Type::TEXT_ARRAY),
        (/* country */ &countries, Type::TEXT_ARRAY),
        (
            /* language */ &column(|click| &click.language),
            Type::TEXT_ARRAY,
        ),
        (/* scan */ &scans, Type::BOOL_ARRAY),
        (/* number */ &numbers, Type::INT4_ARRAY),
    ];
    work.execute(APPEND, &parameters).await.map(drop)
}

async fn see_visitors(work: &Work<'_>, rollup: &mut Rollup<'_>) -> Result<(), Failure> {
    let days: Vec<Timestamp> = rollup.visitors.keys().map(|(day, _, _)| *day).collect();
    let links: Vec<i64> = rollup.visitors.keys().map(|(_, link, _)| *link).collect();
    let hashes: Vec<i64> = rollup.visitors.keys().map(|(_, _, hash)| *hash).collect();
    let parameters: [Parameter<'_>; 3] = [
        (/* day */ &days, Type::TIMESTAMPTZ_ARRAY),
        (/* link_id */ &links, Type::INT8_ARRAY),
        (/* visitor */ &hashes, Type::INT8_ARRAY),
    ];
    let mut new = Vec::new();
    for row in work.query_kept(SEE_VISITORS, &parameters).await? {
        new.push((
            column(&row, "day")?,
            column(&row, "link_id")?,
            column(&row, "visitor")?,
        ));
    }
    rollup.count_visitors(new);
    Ok(())
}

async fn add(work: &Work<'_>, rollup: &Rollup<'_>) -> Result<(), Failure> {
    let hours = || rollup.hours.iter();
    let parameters: [Parameter<'_>; 6] = [
        (
            /* link_id */ &hours().map(|((link, _), _)| *link).collect::<Vec<_>>(),
            Type::INT8_ARRAY,
        ),
        (
            /* start */ &hours().map(|((_, hour), _)| *hour).collect::<Vec<_>>(),
            Type::TIMESTAMPTZ_ARRAY,
        ),
        (
            /* clicks */ &hours().map(|(_, c)| c.clicks).collect::<Vec<_>>(),
            Type::INT8_ARRAY,
        ),
        (
            /* bots */ &hours().map(|(_, c)| c.bots).collect::<Vec<_>>(),
            Type::INT8_ARRAY,
        ),
        (
            /* visitors */ &hours().map(|(_, c)| c.visitors).collect::<Vec<_>>(),
            Type::INT8_ARRAY,
        ),
        (
            /* scans */ &hours().map(|(_, c)| c.scans).collect::<Vec<_>>(),
            Type::INT8_ARRAY,
        ),
    ];
    work.execute(ADD_HOURS, &parameters).await?;
    wait_for_sums(work, rollup).await?;
    let totals: (Vec<i64>, Vec<i64>) = rollup.totals.iter().map(|(link, n)| (*link, *n)).unzip();
    let parameters: [Parameter<'_>; 2] = [
        (/* id */ &totals.0, Type::INT8_ARRAY),
        (/* clicks */ &totals.1, Type::INT8_ARRAY),
    ];
    work.execute(ADD_TOTALS, &parameters).await.map(drop)
}

/// Leaves what the values of the clicks are to [`super::values`].
async fn wait_for_sums<'a>(work: &Work<'_>, rollup: &Rollup<'a>) -> Result<(), Failure> {
    let column = |text: fn(&Alike<'a>) -> &'a str| -> Vec<&str> { rollup.alike.keys().map(text).collect() };
    let links: Vec<i64> = rollup.alike.keys().map(|alike| alike.link).collect();
    let hours: Vec<Timestamp> = rollup.alike.keys().map(|alike| alike.hour).collect();
    let countries: Vec<Option<&str>> = rollup.alike.keys().map(|alike| alike.country).collect();
    let clicks: Vec<i64> = rollup.alike.values().copied().collect();
    let parameters: [Parameter<'_>; 9] = [
        (/* link_id */ &links, Type::INT8_ARRAY),
        (/* start */ &hours, Type::TIMESTAMPTZ_ARRAY),
        (
            /* referrer */ &column(|alike| alike.referrer),
            Type::TEXT_ARRAY,
        ),
        (
            /* browser */ &column(|alike| alike.browser),
            Type::TEXT_ARRAY,
        ),
        (/* system */ &column(|alike| alike.system), Type::TEXT_ARRAY),
        (/* device */ &column(|alike| alike.device), Type::TEXT_ARRAY),
        (/* country */ &countries, Type::TEXT_ARRAY),
        (
            /* language */ &column(|alike| alike.language),
            Type::TEXT_ARRAY,
        ),
        (/* clicks */ &clicks, Type::INT8_ARRAY),
    ];
    work.execute(WAIT_FOR_SUMS, &parameters).await.map(drop)
}

/// The key of a day; `candidate` if there was none.
pub(super) async fn secret(pool: &Pool, day: Timestamp, candidate: &str) -> Result<String, Failure> {
    let work = Work::begin(pool).await?;
    let before = day - SignedDuration::from_hours(24);
    let parameters: [Parameter<'_>; 2] = [
        (/* day */ &day, Type::TIMESTAMPTZ),
        (/* secret */ &candidate, Type::TEXT),
    ];
    work.execute(KEEP_SECRET, &parameters).await?;
    work.execute(FORGET_SECRETS, &[(/* before */ &before, Type::TIMESTAMPTZ)])
        .await?;
    let rows = work
        .query_kept(SECRET, &[(/* day */ &day, Type::TIMESTAMPTZ)])
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| corrupt("there is no secret for a day"))?;
    let secret = column(row, "secret")?;
    work.commit().await?;
    Ok(secret)
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &'static str) -> Result<T, Failure> {
    row.try_get(name)
        .map_err(|err| corrupt(format!("column {name}: {err}")))
}

fn corrupt(what: impl Into<String>) -> Failure {
    Failure {
        remedy: Remedy::Nothing,
        code: None,
        error: StoreError::Corrupt(what.into()),
    }
}
