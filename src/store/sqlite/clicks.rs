//! Clicks and their sums, a transaction for each batch.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::failure::{unavailable, unavailable_or_refused};
use super::values::unsummed_values;
use crate::domain::{ClickBatch, Counts, Dimension, Range, Ranked, Slug, Tally};
use crate::store::StoreError;
use crate::store::rollup::{LinkId, Rollup};

const RECORD_BATCH: &str = "-- record_batch()
INSERT INTO click_batches (id, recorded_at) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING";

const LINK_ID: &str = "-- link_id()
SELECT id FROM links WHERE slug = ?1";

// The id of a link is its first revision: a link that was created under the slug after the click is another one.
const FOLLOWED_LINK: &str = "-- followed_link()
SELECT id FROM links WHERE slug = ?1 AND id <= ?2";

const APPEND: &str = "-- append()
INSERT INTO clicks
    (clicked_at, link_id, bot, referrer, browser, system, device, country, language, scan, number)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

const SEE_VISITOR: &str = "-- see_visitor()
INSERT INTO click_visitors (day, link_id, visitor) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";

const ADD_HOUR: &str = "-- add_hour()
INSERT INTO click_hours (link_id, start, clicks, bots, visitors, scans) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (link_id, start) DO UPDATE SET clicks = clicks + excluded.clicks, bots = bots + excluded.bots,
    visitors = visitors + excluded.visitors, scans = scans + excluded.scans";

const WAIT_FOR_SUMS: &str = "-- wait_for_sums()
INSERT INTO unsummed_clicks (link_id, start, referrer, browser, system, device, country, language, clicks)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const ADD_TOTAL: &str = "-- add_total()
UPDATE links SET clicks = clicks + ?2 WHERE id = ?1";

const SECRET: &str = "-- secret()
SELECT secret FROM visitor_secrets WHERE day = ?1";

const KEEP_SECRET: &str = "-- keep_secret()
INSERT INTO visitor_secrets (day, secret) VALUES (?1, ?2) ON CONFLICT (day) DO NOTHING";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < ?1";

const COUNTS: &str = "-- counts()
SELECT start - start % ?4 AS time, sum(clicks), sum(bots), sum(visitors), sum(scans)
FROM click_hours
WHERE link_id = ?1 AND start >= ?2 AND start < ?3
GROUP BY time ORDER BY time";

const VALUES: &str = concat!(
    "-- values()
WITH sums AS (
    SELECT dimension, value, sum(clicks) AS clicks FROM (
        SELECT dimension, value, clicks FROM click_values
        WHERE link_id = ?1 AND span = 1 AND start >= ?4 AND start < ?5
        UNION ALL
        SELECT dimension, value, clicks FROM click_values
        WHERE link_id = ?1 AND span = 0 AND start >= ?2 AND start < ?4
        UNION ALL
        SELECT dimension, value, clicks FROM click_values
        WHERE link_id = ?1 AND span = 0 AND start >= ?5 AND start < ?3
        UNION ALL
        SELECT dimension, value, clicks FROM (",
    unsummed_values!(),
    ")
        WHERE link_id = ?1 AND start >= ?2 AND start < ?3
    ) GROUP BY dimension, value
), ranked AS (
    SELECT dimension, value, clicks,
        row_number() OVER (PARTITION BY dimension ORDER BY clicks DESC, value) AS place
    FROM sums
)
SELECT dimension, value, clicks FROM ranked WHERE place <= ?6 ORDER BY dimension, place"
);

/// Stores a batch; `false` if it was stored before.
pub(super) fn record(connection: &mut Connection, batch: &ClickBatch) -> Result<bool, StoreError> {
    record_batch(connection, batch).map_err(unavailable_or_refused)
}

fn record_batch(connection: &mut Connection, batch: &ClickBatch) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let new = transaction.prepare_cached(RECORD_BATCH)?.execute(params![
        /* id */ batch.id,
        /* recorded_at */ batch.made_at.as_microsecond()
    ])?;
    if new == 0 {
        return Ok(false);
    }
    let ids = link_ids(&transaction, batch)?;
    let mut rollup = Rollup::of(&batch.clicks, &ids);
    append(&transaction, batch, &ids)?;
    add(&transaction, &mut rollup)?;
    transaction.commit()?;
    Ok(true)
}

fn link_ids(transaction: &Transaction<'_>, batch: &ClickBatch) -> rusqlite::Result<HashMap<Slug, LinkId>> {
    let mut statement = transaction.prepare_cached(FOLLOWED_LINK)?;
    let mut ids = HashMap::new();
    for (slug, revision) in batch.links() {
        let parameters = params![/* slug */ slug.as_str(), /* revision */ revision.get()];
        let id = statement.query_row(parameters, |row| row.get(0));
        if let Some(id) = id.optional()? {
            ids.insert(slug.clone(), id);
        }
    }
    Ok(ids)
}

fn append(
    transaction: &Transaction<'_>,
    batch: &ClickBatch,
    ids: &HashMap<Slug, LinkId>,
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(APPEND)?;
    for click in &batch.clicks {
        let Some(link) = ids.get(&click.slug) else {
            continue;
        };
        statement.execute(params![
            /* clicked_at */ click.at.as_microsecond(),
            /* link_id */ link,
            /* bot */ click.bot,
            /* referrer */ click.referrer,
            /* browser */ click.browser,
            /* system */ click.system,
            /* device */ click.device,
            /* country */ click.country,
            /* language */ click.language,
            /* scan */ click.scan,
            /* number */ click.number,
        ])?;
    }
    Ok(())
}

fn add(transaction: &Transaction<'_>, rollup: &mut Rollup<'_>) -> rusqlite::Result<()> {
    let mut see = transaction.prepare_cached(SEE_VISITOR)?;
    let mut new = Vec::new();
    for visitor @ (day, link, hash) in rollup.visitors.keys() {
        let rows = see.execute(params![
            /* day */ day.as_microsecond(),
            /* link_id */ link,
            /* visitor */ hash
        ])?;
        if rows == 1 {
            new.push(*visitor);
        }
    }
    rollup.count_visitors(new);
    let mut statement = transaction.prepare_cached(ADD_HOUR)?;
    for ((link, hour), counts) in &rollup.hours {
        statement.execute(params![
            /* link_id */ link,
            /* start */ hour.as_microsecond(),
            /* clicks */ counts.clicks,
            /* bots */ counts.bots,
            /* visitors */ counts.visitors,
            /* scans */ counts.scans,
        ])?;
    }
    let mut statement = transaction.prepare_cached(WAIT_FOR_SUMS)?;
    for (alike, clicks) in &rollup.alike {
        statement.execute(params![
            /* link_id */ alike.link,
            /* start */ alike.hour.as_microsecond(),
            /* referrer */ alike.referrer,
            /* browser */ alike.browser,
            /* system */ alike.system,
            /* device */ alike.device,
            /* country */ alike.country,
            /* language */ alike.language,
            /* clicks */ clicks,
        ])?;
    }
    let mut statement = transaction.prepare_cached(ADD_TOTAL)?;
    for (link, clicks) in &rollup.totals {
        statement.execute(params![/* id */ link, /* more */ clicks])?;
    }
    Ok(())
}

/// The key of a day; `candidate` if there was none.
pub(super) fn secret(
    connection: &mut Connection,
    day: Timestamp,
    candidate: &str,
) -> Result<String, StoreError> {
    let mut keep = || -> rusqlite::Result<String> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = (day - jiff::SignedDuration::from_hours(24)).as_microsecond();
        let day = day.as_microsecond();
        transaction
            .prepare_cached(KEEP_SECRET)?
            .execute(params![/* day */ day, /* secret */ candidate])?;
        transaction
            .prepare_cached(FORGET_SECRETS)?
            .execute(params![/* before */ before])?;
        let secret = transaction
            .prepare_cached(SECRET)?
            .query_row(params![/* day */ day], |row| row.get(0))?;
        transaction.commit()?;
        Ok(secret)
    };
    keep().map_err(unavailable)
}

/// The sums of a link, or `None` if there is no such link.
pub(super) fn tally(
    connection: &mut Connection,
    slug: &Slug,
    range: &Range,
    limit: u16,
) -> Result<Option<Tally>, StoreError> {
    // One transaction, so that both readings see the same clicks.
    let transaction = connection.transaction().map_err(unavailable)?;
    let id = transaction
        .prepare_cached(LINK_ID)
        .and_then(|mut statement| {
            statement
                .query_row(params![/* slug */ slug.as_str()], |row| row.get::<_, LinkId>(0))
                .optional()
        })
        .map_err(unavailable)?;
    let Some(id) = id else { return Ok(None) };
    let counts = counts(&transaction, id, range)?;
    let values = values(&transaction, id, range, limit)?;
    Ok(Some(Tally { counts, values }))
}

fn counts(
    connection: &Connection,
    id: LinkId,
    range: &Range,
) -> Result<Vec<(Timestamp, Counts)>, StoreError> {
    let grain: i64 = match range.grain() {
        jiff::Unit::Hour => 3_600_000_000,
        _ => 86_400_000_000,
    };
    let mut statement = connection.prepare_cached(COUNTS).map_err(unavailable)?;
    let parameters = params![
        /* link_id */ id,
        /* from */ range.from.as_microsecond(),
        /* to */ range.to.as_microsecond(),
        /* grain */ grain
    ];
    let rows = statement.query_map(parameters, |row| {
        let counts = Counts {
            clicks: row.get(1)?,
            bots: row.get(2)?,
            visitors: row.get(3)?,
            scans: row.get(4)?,
        };
        Ok((row.get::<_, i64>(0)?, counts))
    });
    rows.map_err(unavailable)?
        .map(|row| {
            let (time, counts) = row.map_err(unavailable)?;
            let time =
                Timestamp::from_microsecond(time).map_err(|err| StoreError::Corrupt(err.to_string()))?;
            Ok((time, counts))
        })
        .collect()
}

fn values(connection: &Connection, id: LinkId, range: &Range, limit: u16) -> Result<Vec<Ranked>, StoreError> {
    let (first, last) = range.whole_days();
    let mut statement = connection.prepare_cached(VALUES).map_err(unavailable)?;
    let parameters = params![
        /* link_id */ id,
        /* from */ range.from.as_microsecond(),
        /* to */ range.to.as_microsecond(),
        /* first day */ first.as_microsecond(),
        /* end of the last day */ last.as_microsecond(),
        /* limit */ limit
    ];
    let rows = statement.query_map(parameters, |row| {
        Ok((row.get::<_, i16>(0)?, row.get(1)?, row.get(2)?))
    });
    rows.map_err(unavailable)?
        .map(|row| {
            let (code, value, clicks) = row.map_err(unavailable)?;
            let dimension = Dimension::of_code(code)
                .ok_or_else(|| StoreError::Corrupt(format!("there is no dimension {code}")))?;
            Ok(Ranked {
                dimension,
                value,
                clicks,
            })
        })
        .collect()
}
