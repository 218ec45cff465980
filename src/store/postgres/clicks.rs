//! Clicks and their sums, a transaction for each batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::failure::{Failure, Remedy};
use super::pool::{Parameter, Pool};
use super::work::Work;
use crate::domain::{Click, ClickBatch, Dimension, Slug};
use crate::store::StoreError;
use crate::store::rollup::{DayValue, LinkId, Rollup};

// Waits for an earlier try of the same batch whose end nobody saw.
const RECORD_BATCH: &str = "-- record_batch()
INSERT INTO click_batches (id, recorded_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";

// In one order, so that two batches never wait for each other; from here on, no other batch touches the sums
// of these links. (`slug = ANY` would be looked for in the index of the search too, which takes long while it has
// entries to sort in.)
const LOCK_LINKS: &str = "-- lock_links()
SELECT id, slug FROM links WHERE slug IN (SELECT unnest($1::text[])) ORDER BY slug FOR NO KEY UPDATE";

const NEW_VALUES: &str = "-- new_values()
SELECT w.place FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[], $4::text[])
    WITH ORDINALITY AS w (link_id, day, dimension, value, place)
WHERE NOT EXISTS (
    SELECT FROM click_values v WHERE v.link_id = w.link_id AND v.span = 1 AND v.start = w.day
        AND v.dimension = w.dimension AND v.value = w.value)";

const COUNT_VALUES: &str = "-- count_values()
SELECT k.place, (
    SELECT count(*) FROM click_values v WHERE v.link_id = k.link_id AND v.span = 1 AND v.start = k.day
        AND v.dimension = k.dimension AND v.value <> $4) AS number
FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[])
    WITH ORDINALITY AS k (link_id, day, dimension, place)";

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

const ADD_VALUES: &str = "-- add_values()
INSERT INTO click_values AS kept (link_id, span, start, dimension, value, clicks)
SELECT link_id, span, start, dimension, value, clicks
FROM unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::smallint[], $5::text[], $6::bigint[])
    AS v (link_id, span, start, dimension, value, clicks)
ON CONFLICT (link_id, span, start, dimension, value) DO UPDATE SET clicks = kept.clicks + excluded.clicks";

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
        bound(&work, &mut rollup).await?;
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

/// Asks which values are new, and only for those how many the store has already: a busy link brings few.
async fn bound(work: &Work<'_>, rollup: &mut Rollup) -> Result<(), Failure> {
    let values = rollup.day_values();
    let links: Vec<i64> = values.iter().map(|((link, _, _), _)| *link).collect();
    let days: Vec<Timestamp> = values.iter().map(|((_, day, _), _)| *day).collect();
    let dimensions: Vec<i16> = values.iter().map(|((_, _, d), _)| d.code()).collect();
    let texts: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
    let parameters: [Parameter<'_>; 4] = [
        (/* link_id */ &links, Type::INT8_ARRAY),
        (/* day */ &days, Type::TIMESTAMPTZ_ARRAY),
        (/* dimension */ &dimensions, Type::INT2_ARRAY),
        (/* value */ &texts, Type::TEXT_ARRAY),
    ];
    let mut new: BTreeSet<DayValue> = BTreeSet::new();
    for row in work.query_kept(NEW_VALUES, &parameters).await? {
        if let Some(value) = place(&row).and_then(|place| values.get(place)) {
            new.insert((*value).clone());
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    let keys: BTreeSet<_> = new.iter().map(|(key, _)| *key).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let links: Vec<i64> = keys.iter().map(|(link, _, _)| *link).collect();
    let days: Vec<Timestamp> = keys.iter().map(|(_, day, _)| *day).collect();
    let dimensions: Vec<i16> = keys.iter().map(|(_, _, d)| d.code()).collect();
    let parameters: [Parameter<'_>; 4] = [
        (/* link_id */ &links, Type::INT8_ARRAY),
        (/* day */ &days, Type::TIMESTAMPTZ_ARRAY),
        (/* dimension */ &dimensions, Type::INT2_ARRAY),
        (/* not */ &Dimension::OTHER, Type::TEXT),
    ];
    let mut kept = BTreeMap::new();
    for row in work.query_kept(COUNT_VALUES, &parameters).await? {
        if let Some(key) = place(&row).and_then(|place| keys.get(place)) {
            let number: i64 = column(&row, "number")?;
            kept.insert(*key, usize::try_from(number).unwrap_or(usize::MAX));
        }
    }
    rollup.bound(&new, &kept);
    Ok(())
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

async fn see_visitors(work: &Work<'_>, rollup: &mut Rollup) -> Result<(), Failure> {
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

async fn add(work: &Work<'_>, rollup: &Rollup) -> Result<(), Failure> {
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
    add_values(work, rollup).await?;
    let totals: (Vec<i64>, Vec<i64>) = rollup.totals.iter().map(|(link, n)| (*link, *n)).unzip();
    let parameters: [Parameter<'_>; 2] = [
        (/* id */ &totals.0, Type::INT8_ARRAY),
        (/* clicks */ &totals.1, Type::INT8_ARRAY),
    ];
    work.execute(ADD_TOTALS, &parameters).await.map(drop)
}

async fn add_values(work: &Work<'_>, rollup: &Rollup) -> Result<(), Failure> {
    let rows = rollup.value_rows();
    let links: Vec<i64> = rows.iter().map(|((link, ..), _)| *link).collect();
    let spans: Vec<i16> = rows.iter().map(|((_, span, ..), _)| *span).collect();
    let starts: Vec<Timestamp> = rows.iter().map(|((_, _, start, ..), _)| *start).collect();
    let dimensions: Vec<i16> = rows.iter().map(|((_, _, _, d, _), _)| d.code()).collect();
    let values: Vec<&str> = rows.iter().map(|((.., value), _)| value.as_str()).collect();
    let clicks: Vec<i64> = rows.iter().map(|(_, clicks)| *clicks).collect();
    let parameters: [Parameter<'_>; 6] = [
        (/* link_id */ &links, Type::INT8_ARRAY),
        (/* span */ &spans, Type::INT2_ARRAY),
        (/* start */ &starts, Type::TIMESTAMPTZ_ARRAY),
        (/* dimension */ &dimensions, Type::INT2_ARRAY),
        (/* value */ &values, Type::TEXT_ARRAY),
        (/* clicks */ &clicks, Type::INT8_ARRAY),
    ];
    work.execute(ADD_VALUES, &parameters).await.map(drop)
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

/// Where a row of `WITH ORDINALITY` came from.
fn place(row: &Row) -> Option<usize> {
    let place: i64 = row.try_get("place").ok()?;
    usize::try_from(place).ok()?.checked_sub(1)
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
