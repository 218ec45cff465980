//! Sums of clicks by value, made of the clicks that wait for it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Error, Transaction, params};

use crate::domain::Dimension;
use crate::store::values::{DAY, DayValue, SUMMED_FIRST, SUMMED_ROWS, ValueSums};

// All that waits of a link becomes one sum; links that have waited for long come first, more or less.
const TAKE_UNSUMMED: &str = "-- take_unsummed()
DELETE FROM unsummed_clicks WHERE rowid IN (
    SELECT rowid FROM unsummed_clicks
    WHERE link_id IN (SELECT link_id FROM (SELECT link_id FROM unsummed_clicks LIMIT ?1)) LIMIT ?2)
RETURNING link_id, start, referrer, browser, system, device, country, language, clicks";

const HAS_VALUE: &str = "-- has_value()
SELECT 1 FROM click_values WHERE link_id = ?1 AND span = ?2 AND start = ?3 AND dimension = ?4 AND value = ?5";

const COUNT_VALUES: &str = "-- count_values()
SELECT count(*) FROM click_values
WHERE link_id = ?1 AND span = ?2 AND start = ?3 AND dimension = ?4 AND value <> ?5";

const ADD_VALUE: &str = "-- add_value()
INSERT INTO click_values (link_id, span, start, dimension, value, clicks) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (link_id, span, start, dimension, value) DO UPDATE SET clicks = clicks + excluded.clicks";

/// Sums some of the clicks that wait for it, and answers how many sums it added to; 0 if none waits.
pub(super) fn sum(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    let mut sums = ValueSums::default();
    let mut take = transaction.prepare_cached(TAKE_UNSUMMED)?;
    let mut rows = take.query(params![
        /* first */ SUMMED_FIRST,
        /* limit */ SUMMED_ROWS
    ])?;
    while let Some(row) = rows.next()? {
        let hour = Timestamp::from_microsecond(row.get("start")?)
            .map_err(|err| Error::FromSqlConversionFailure(1, Type::Integer, err.into()))?;
        let values = [
            (Dimension::Referrer, row.get("referrer")?),
            (Dimension::Browser, row.get("browser")?),
            (Dimension::System, row.get("system")?),
            (Dimension::Device, row.get("device")?),
            (Dimension::Country, row.get("country")?),
            (Dimension::Language, row.get("language")?),
        ];
        for (dimension, value) in values {
            if let Some(value) = value {
                sums.add(row.get("link_id")?, hour, dimension, value, row.get("clicks")?);
            }
        }
    }
    bound(transaction, &mut sums)?;
    add(transaction, &sums)
}

fn bound(transaction: &Transaction<'_>, sums: &mut ValueSums) -> rusqlite::Result<()> {
    let mut new: BTreeSet<DayValue> = BTreeSet::new();
    let mut kept = BTreeMap::new();
    let mut has = transaction.prepare_cached(HAS_VALUE)?;
    let mut count = transaction.prepare_cached(COUNT_VALUES)?;
    for day_value in sums.day_values() {
        let ((link, day, dimension), value) = day_value;
        let key = params![
            /* link_id */ link,
            /* span */ DAY,
            /* start */ day.as_microsecond(),
            /* dimension */ dimension.code(),
            /* value */ value
        ];
        if has.exists(key)? {
            continue;
        }
        new.insert(day_value.clone());
        if let Entry::Vacant(place) = kept.entry(day_value.0) {
            let number: i64 = count.query_row(
                params![
                    /* link_id */ link,
                    /* span */ DAY,
                    /* start */ day.as_microsecond(),
                    /* dimension */ dimension.code(),
                    /* not */ Dimension::OTHER
                ],
                |row| row.get(0),
            )?;
            place.insert(usize::try_from(number).unwrap_or(usize::MAX));
        }
    }
    sums.bound(&new, &kept);
    Ok(())
}

fn add(transaction: &Transaction<'_>, sums: &ValueSums) -> rusqlite::Result<usize> {
    let rows = sums.rows();
    let mut statement = transaction.prepare_cached(ADD_VALUE)?;
    for ((link, span, start, dimension, value), clicks) in &rows {
        statement.execute(params![
            /* link_id */ link,
            /* span */ span,
            /* start */ start.as_microsecond(),
            /* dimension */ dimension.code(),
            /* value */ value,
            /* clicks */ clicks,
        ])?;
    }
    Ok(rows.len())
}
