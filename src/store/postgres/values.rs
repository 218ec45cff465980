//! Sums of clicks by value, made of the clicks that wait for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::clicks::{column, corrupt};
use super::failure::Failure;
use super::pool::Parameter;
use super::work::Work;
use crate::domain::Dimension;
use crate::store::values::{DayValue, SUMMED_FIRST, SUMMED_ROWS, ValueSums};

/// One process at a time sums the clicks of a schema; the others leave it to that one.
const TAKE_TURN: &str = "-- take_turn()
SELECT pg_try_advisory_xact_lock(794203919, hashtext(coalesce(current_schema(), ''))) AS granted";

// All that waits of a link becomes one sum; links that have waited for long come first, more or less.
const TAKE_UNSUMMED: &str = "-- take_unsummed()
WITH first AS (
    SELECT DISTINCT link_id FROM (SELECT link_id FROM unsummed_clicks LIMIT $1) AS f
), taken AS (
    DELETE FROM unsummed_clicks WHERE ctid = ANY(ARRAY(
        SELECT u.ctid FROM first JOIN unsummed_clicks u ON u.link_id = first.link_id LIMIT $2))
    RETURNING link_id, start, referrer, browser, system, device, country, language, clicks
)
SELECT t.link_id, t.start, v.dimension, v.value, sum(t.clicks)::bigint AS clicks
FROM taken t CROSS JOIN LATERAL (VALUES (1::smallint, t.referrer), (2::smallint, t.browser), (3::smallint, t.system),
    (4::smallint, t.device), (5::smallint, t.country), (6::smallint, t.language)) AS v (dimension, value)
WHERE v.value IS NOT NULL
GROUP BY t.link_id, t.start, v.dimension, v.value";

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

const ADD_VALUES: &str = "-- add_values()
INSERT INTO click_values AS kept (link_id, span, start, dimension, value, clicks)
SELECT link_id, span, start, dimension, value, clicks
FROM unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::smallint[], $5::text[], $6::bigint[])
    AS v (link_id, span, start, dimension, value, clicks)
ON CONFLICT (link_id, span, start, dimension, value) DO UPDATE SET clicks = kept.clicks + excluded.clicks";

/// Sums some of the clicks that wait for it, and answers how many sums it added to; 0 if none waits, or another process
/// is at it.
pub(super) async fn sum(work: &Work<'_>) -> Result<u64, Failure> {
    let turn = work.query_kept(TAKE_TURN, &[]).await?;
    if !turn.iter().any(|row| row.try_get("granted").unwrap_or(false)) {
        return Ok(0);
    }
    let mut sums = ValueSums::default();
    let parameters: [Parameter<'_>; 2] = [
        (/* first */ &SUMMED_FIRST, Type::INT8),
        (/* limit */ &SUMMED_ROWS, Type::INT8),
    ];
    let rows = work.query_kept(TAKE_UNSUMMED, &parameters).await?;
    for row in &rows {
        let code = column(row, "dimension")?;
        let dimension =
            Dimension::of_code(code).ok_or_else(|| corrupt(format!("there is no dimension {code}")))?;
        sums.add(
            column(row, "link_id")?,
            column(row, "start")?,
            dimension,
            column(row, "value")?,
            column(row, "clicks")?,
        );
    }
    if rows.is_empty() {
        return Ok(0);
    }
    bound(work, &mut sums).await?;
    add(work, &sums).await
}

/// Asks which values are new, and only for those how many the store has already: a busy link brings few.
async fn bound(work: &Work<'_>, sums: &mut ValueSums) -> Result<(), Failure> {
    let values = sums.day_values();
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
    sums.bound(&new, &kept);
    Ok(())
}

async fn add(work: &Work<'_>, sums: &ValueSums) -> Result<u64, Failure> {
    let rows = sums.rows();
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
    work.execute(ADD_VALUES, &parameters).await
}

/// Where a row of `WITH ORDINALITY` came from.
fn place(row: &Row) -> Option<usize> {
    let place: i64 = row.try_get("place").ok()?;
    usize::try_from(place).ok()?.checked_sub(1)
}
