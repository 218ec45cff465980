//! The sums of a link, in one statement.

use jiff::{Timestamp, Unit};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::pool::Parameter;
use super::values::values_of;
use crate::domain::{Counts, Dimension, Range, Ranked, Slug, Tally};
use crate::store::StoreError;

/// One row, with the sums and the values as arrays. Whole days come from the sums of days, the hours before
/// and after them from the sums of hours; what is not summed yet is added.
pub(super) const TALLY: &str = concat!("-- tally()
WITH link AS (
    SELECT id FROM links WHERE slug = $1
), counts AS (
    SELECT to_timestamp(floor(extract(epoch FROM start)::float8 / $6::float8) * $6::float8) AS time, sum(clicks)::bigint AS clicks,
        sum(bots)::bigint AS bots, sum(visitors)::bigint AS visitors,
        sum(scans)::bigint AS scans
    FROM click_hours WHERE link_id = (SELECT id FROM link) AND start >= $2 AND start < $3
    GROUP BY time
), sums AS (
    SELECT dimension, value, sum(clicks)::bigint AS clicks FROM (
        SELECT dimension, value, clicks FROM click_values
        WHERE link_id = (SELECT id FROM link) AND span = 1 AND start >= $4 AND start < $5
        UNION ALL
        SELECT dimension, value, clicks FROM click_values
        WHERE link_id = (SELECT id FROM link) AND span = 0 AND start >= $2 AND start < $4
        UNION ALL
        SELECT dimension, value, clicks FROM click_values
        WHERE link_id = (SELECT id FROM link) AND span = 0 AND start >= $5 AND start < $3
        UNION ALL
        SELECT v.dimension, v.value, c.clicks FROM unsummed_clicks c CROSS JOIN ", values_of!("c"), "
        WHERE c.link_id = (SELECT id FROM link) AND c.start >= $2 AND c.start < $3 AND v.value IS NOT NULL
    ) AS parts GROUP BY dimension, value
), ranked AS (
    SELECT dimension, value, clicks,
        row_number() OVER (PARTITION BY dimension ORDER BY clicks DESC, value) AS place
    FROM sums
), listed AS (
    SELECT dimension, value, clicks, place FROM ranked WHERE place <= $7
)
SELECT
    ARRAY(SELECT time FROM counts ORDER BY time) AS times,
    ARRAY(SELECT clicks FROM counts ORDER BY time) AS clicks,
    ARRAY(SELECT bots FROM counts ORDER BY time) AS bots,
    ARRAY(SELECT visitors FROM counts ORDER BY time) AS visitors,
    ARRAY(SELECT scans FROM counts ORDER BY time) AS scans,
    ARRAY(SELECT dimension FROM listed ORDER BY dimension, place) AS dimensions,
    ARRAY(SELECT value FROM listed ORDER BY dimension, place) AS values,
    ARRAY(SELECT clicks FROM listed ORDER BY dimension, place) AS value_clicks
FROM link");

/// What is asked.
pub(super) struct Question<'a> {
    slug: &'a str,
    range: &'a Range,
    days: (Timestamp, Timestamp),
    grain: f64,
    limit: i64,
}

impl<'a> Question<'a> {
    /// The sums of `slug` over `range`, with `limit` values of each dimension.
    pub(super) fn new(slug: &'a Slug, range: &'a Range, limit: u16) -> Self {
        Self {
            slug: slug.as_str(),
            range,
            days: range.whole_days(),
            grain: match range.grain() {
                Unit::Hour => 3_600.0,
                _ => 86_400.0,
            },
            limit: i64::from(limit),
        }
    }

    /// The parameters of [`TALLY`].
    pub(super) fn parameters(&self) -> [Parameter<'_>; 7] {
        [
            (/* slug */ &self.slug, Type::TEXT),
            (/* from */ &self.range.from, Type::TIMESTAMPTZ),
            (/* to */ &self.range.to, Type::TIMESTAMPTZ),
            (/* first day */ &self.days.0, Type::TIMESTAMPTZ),
            (/* end of the last day */ &self.days.1, Type::TIMESTAMPTZ),
            (/* grain */ &self.grain, Type::FLOAT8),
            (/* limit */ &self.limit, Type::INT8),
        ]
    }
}

/// The answer.
pub(super) fn to_tally(row: &Row) -> Result<Tally, StoreError> {
    let times: Vec<Timestamp> = column(row, "times")?;
    let clicks: Vec<i64> = column(row, "clicks")?;
    let bots: Vec<i64> = column(row, "bots")?;
    let visitors: Vec<i64> = column(row, "visitors")?;
    let scans: Vec<i64> = column(row, "scans")?;
    let counts = times
        .into_iter()
        .zip(clicks.into_iter().zip(bots).zip(visitors).zip(scans))
        .map(|(time, (((clicks, bots), visitors), scans))| {
            let counts = Counts {
                clicks,
                bots,
                visitors,
                scans,
            };
            (time, counts)
        })
        .collect();
    let codes: Vec<i16> = column(row, "dimensions")?;
    let values: Vec<String> = column(row, "values")?;
    let clicks: Vec<i64> = column(row, "value_clicks")?;
    let values = codes
        .into_iter()
        .zip(values.into_iter().zip(clicks))
        .map(|(code, (value, clicks))| {
            let dimension = Dimension::of_code(code)
                .ok_or_else(|| StoreError::Corrupt(format!("there is no dimension {code}")))?;
            Ok(Ranked {
                dimension,
                value,
                clicks,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Tally { counts, values })
}

fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &'static str) -> Result<T, StoreError> {
    row.try_get(name)
        .map_err(|err| StoreError::Corrupt(format!("column {name}: {err}")))
}
