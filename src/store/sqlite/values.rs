//! Sums of clicks by value, made of the clicks that wait for it.

use rusqlite::{Transaction, params};

use crate::domain::Dimension;
use crate::store::chores::{SUM_FIRST, SUM_ROWS};

/// Clicks that wait, a row for each of their values, by the codes of [`Dimension`].
macro_rules! unsummed_values {
    () => {
        "SELECT unsummed_clicks.rowid AS place, link_id, start, d.dimension,
        CASE d.dimension WHEN 1 THEN referrer WHEN 2 THEN browser WHEN 3 THEN system WHEN 4 THEN device
            WHEN 5 THEN country ELSE language END AS value, clicks
    FROM unsummed_clicks CROSS JOIN (SELECT column1 AS dimension FROM (VALUES (1), (2), (3), (4), (5), (6))) d
    WHERE (d.dimension <> 5 OR country IS NOT NULL)"
    };
}
pub(super) use unsummed_values;

// All that waits of a link becomes one sum; links that have waited for long come first. Both statements choose the same.
macro_rules! chosen {
    () => {
        "(SELECT rowid FROM unsummed_clicks
    WHERE link_id IN (SELECT link_id FROM (SELECT link_id FROM unsummed_clicks ORDER BY rowid LIMIT ?1))
    ORDER BY link_id, rowid LIMIT ?2)"
    };
}

// Values that are new on their day and more than the bound allows become others.
const SUM_VALUES: &str = concat!(
    "-- sum_values()
WITH valued AS (
    SELECT link_id, start, start - start % 86400000000 AS day, dimension, value, clicks FROM (",
    unsummed_values!(),
    ") WHERE place IN ",
    chosen!(),
    "
), new AS (
    SELECT link_id, day, dimension, value,
        row_number() OVER (PARTITION BY link_id, day, dimension ORDER BY value) AS place
    FROM (SELECT DISTINCT link_id, day, dimension, value FROM valued WHERE value <> ?4) d
    WHERE NOT EXISTS (SELECT 1 FROM click_values v WHERE v.link_id = d.link_id AND v.span = 1 AND v.start = d.day
        AND v.dimension = d.dimension AND v.value = d.value)
), beyond AS (
    SELECT link_id, day, dimension, value FROM new n WHERE place > ?3 - (
        SELECT count(*) FROM click_values v WHERE v.link_id = n.link_id AND v.span = 1 AND v.start = n.day
            AND v.dimension = n.dimension AND v.value <> ?4)
), bounded AS (
    SELECT a.link_id, a.start, a.day, a.dimension, CASE WHEN b.value IS NULL THEN a.value ELSE ?4 END AS value, a.clicks
    FROM valued a LEFT JOIN beyond b
        ON b.link_id = a.link_id AND b.day = a.day AND b.dimension = a.dimension AND b.value = a.value
)
INSERT INTO click_values (link_id, span, start, dimension, value, clicks)
SELECT link_id, 0, start, dimension, value, sum(clicks) FROM bounded GROUP BY link_id, start, dimension, value
UNION ALL
SELECT link_id, 1, day, dimension, value, sum(clicks) FROM bounded GROUP BY link_id, day, dimension, value
ON CONFLICT (link_id, span, start, dimension, value) DO UPDATE SET clicks = clicks + excluded.clicks"
);

const FORGET_SUMMED: &str = concat!(
    "-- forget_summed()
DELETE FROM unsummed_clicks WHERE rowid IN ",
    chosen!()
);

/// Sums some of the clicks that wait for it, and answers how many sums it added to; 0 if none waits.
pub(super) fn sum(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    let sums = transaction.prepare_cached(SUM_VALUES)?.execute(params![
        /* first */ SUM_FIRST,
        /* rows */ SUM_ROWS,
        /* most */ Dimension::MAX_VALUES,
        /* other */ Dimension::OTHER
    ])?;
    transaction
        .prepare_cached(FORGET_SUMMED)?
        .execute(params![/* first */ SUM_FIRST, /* rows */ SUM_ROWS])?;
    Ok(sums)
}
