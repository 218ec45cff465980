//! Sums of clicks by value, made of the clicks that wait for it.

use tokio_postgres::types::Type;

use super::failure::Failure;
use super::pool::Parameter;
use super::work::Work;
use crate::domain::Dimension;
use crate::store::chores::{SUM_FIRST, SUM_ROWS};

/// The values of the row `$row` of `unsummed_clicks`, by the codes of [`Dimension`].
macro_rules! values_of {
    ($row:literal) => {
        concat!(
            "LATERAL (VALUES (1::smallint, ",
            $row,
            ".referrer), (2::smallint, ",
            $row,
            ".browser), (3::smallint, ",
            $row,
            ".system), (4::smallint, ",
            $row,
            ".device), (5::smallint, ",
            $row,
            ".country), (6::smallint, ",
            $row,
            ".language)) AS v (dimension, value)"
        )
    };
}
pub(super) use values_of;

/// One process at a time sums the clicks of a schema; the others leave it to that one. So the bound on values is exact.
const TAKE_TURN: &str = "-- take_turn()
SELECT pg_try_advisory_xact_lock(794203919, hashtext(coalesce(current_schema(), ''))) AS granted";

// All that waits of a link becomes one sum; links that have waited for long come first, more or less. Values that are new
// on their day and more than the bound allows become others.
//
// A single row that may be there is a subquery, which is looked up by its key whatever the planner thinks of the number
// of rows; as a join, it might read the whole table.
const SUM_VALUES: &str = concat!("-- sum_values()
WITH first AS (
    SELECT DISTINCT link_id FROM (SELECT link_id FROM unsummed_clicks LIMIT $1) AS f
), taken AS (
    DELETE FROM unsummed_clicks WHERE ctid = ANY(ARRAY(
        SELECT u.ctid FROM first JOIN unsummed_clicks u ON u.link_id = first.link_id LIMIT $2))
    RETURNING link_id, start, referrer, browser, system, device, country, language, clicks
), valued AS (
    SELECT t.link_id, t.start, date_trunc('day', t.start, 'UTC') AS day, v.dimension, v.value, sum(t.clicks) AS clicks
    FROM taken t CROSS JOIN ", values_of!("t"), "
    WHERE v.value IS NOT NULL
    GROUP BY t.link_id, t.start, v.dimension, v.value
), new AS (
    SELECT link_id, day, dimension, value,
        row_number() OVER (PARTITION BY link_id, day, dimension ORDER BY value) AS place
    FROM (SELECT DISTINCT link_id, day, dimension, value FROM valued WHERE value <> $4) AS d
    WHERE (SELECT true FROM click_values v WHERE v.link_id = d.link_id AND v.span = 1 AND v.start = d.day
        AND v.dimension = d.dimension AND v.value = d.value) IS NULL
), beyond AS (
    SELECT link_id, day, dimension, value FROM new n WHERE place > $3 - (
        SELECT count(*) FROM click_values v WHERE v.link_id = n.link_id AND v.span = 1 AND v.start = n.day
            AND v.dimension = n.dimension AND v.value <> $4)
), bounded AS (
    SELECT a.link_id, a.start, a.day, a.dimension, CASE WHEN b.value IS NULL THEN a.value ELSE $4 END AS value, a.clicks
    FROM valued a LEFT JOIN beyond b
        ON b.link_id = a.link_id AND b.day = a.day AND b.dimension = a.dimension AND b.value = a.value
)
INSERT INTO click_values AS kept (link_id, span, start, dimension, value, clicks)
SELECT link_id, span, start, dimension, value, clicks FROM (
    SELECT link_id, 0::smallint AS span, start, dimension, value, sum(clicks)::bigint AS clicks
    FROM bounded GROUP BY link_id, start, dimension, value
    UNION ALL
    SELECT link_id, 1::smallint, day, dimension, value, sum(clicks)::bigint
    FROM bounded GROUP BY link_id, day, dimension, value
) AS sums
ORDER BY link_id, span, start, dimension, value
ON CONFLICT (link_id, span, start, dimension, value) DO UPDATE SET clicks = kept.clicks + excluded.clicks");

/// Sums some of the clicks that wait for it, and answers how many sums it added to; 0 if none waits, or another process
/// is at it.
pub(super) async fn sum(work: &Work<'_>) -> Result<u64, Failure> {
    let turn = work.query_kept(TAKE_TURN, &[]).await?;
    if !turn.iter().any(|row| row.try_get("granted").unwrap_or(false)) {
        return Ok(0);
    }
    let parameters: [Parameter<'_>; 4] = [
        (/* first */ &SUM_FIRST, Type::INT8),
        (/* rows */ &SUM_ROWS, Type::INT8),
        (/* most */ &Dimension::MAX_VALUES, Type::INT8),
        (/* other */ &Dimension::OTHER, Type::TEXT),
    ];
    work.execute(SUM_VALUES, &parameters).await
}
