//! Clicks and their sums, one statement for each batch.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::failure::{Failure, Remedy};
use super::pool::{Parameter, Pool, Queue};
use super::work::Work;
use crate::domain::{Click, ClickBatch, Slug};
use crate::store::StoreError;
use crate::store::rollup::{Alike, LinkId, Rollup};

// One statement, so that no lock outlives a round trip: an instance may be frozen between any two.
//
// - `batch` waits for an earlier try of the same batch, and is empty if that was stored.
// - `locked` locks the links in the order of their slugs, so that two batches never wait for each other in a circle. Until the
//   end of the statement no other batch touches the sums of these links. (`slug = ANY` would be looked for in the index of the
//   search too, which takes long while it has entries to sort in.)
// - `known` has the links' ids by their place in the batch, 0 for those that are gone or were created under the slug after the
//   clicks. All later parts depend on it, and so come after the locks.
// - `counted` has the new visitors by the place of their hour.
// - What the parts have in common is found by key in a document, and not by a join: the planner does not know how long the
//   arrays are, and would compare every row of a large batch with every other.
// - The limit on waiting for locks is part of the statement, since a pooler takes no settings of a session.
const RECORD_CLICKS: &str = "-- record_clicks()
WITH limits AS MATERIALIZED (
    SELECT set_config('lock_timeout', '1s', true) AS lock_timeout
), batch AS (
    INSERT INTO click_batches (id, recorded_at) SELECT $1::text, $2::timestamptz FROM limits
    ON CONFLICT (id) DO NOTHING RETURNING id
), locked AS MATERIALIZED (
    SELECT l.id, l.slug, l.first_revision FROM links l
    WHERE l.slug IN (SELECT unnest($3::text[])) AND EXISTS (SELECT FROM batch)
    ORDER BY l.slug FOR NO KEY UPDATE
), known AS MATERIALIZED (
    SELECT array_agg(CASE WHEN (l.firsts ->> s.slug)::bigint <= s.revision THEN (l.ids ->> s.slug)::bigint ELSE 0 END
        ORDER BY s.place) AS ids
    FROM (
        SELECT coalesce(jsonb_object_agg(slug, id), '{}') AS ids,
            coalesce(jsonb_object_agg(slug, first_revision), '{}') AS firsts
        FROM locked
    ) AS l
    CROSS JOIN unnest($3::text[], $35::bigint[]) WITH ORDINALITY AS s (slug, revision, place)
), appended AS (
    INSERT INTO clicks
        (clicked_at, link_id, bot, referrer, browser, system, device, country, language, scan, number)
    SELECT c.clicked_at, k.ids[c.link], c.bot, c.referrer, c.browser, c.system, c.device, c.country, c.language, c.scan,
        c.number
    FROM known k, unnest($4::timestamptz[], $5::integer[], $6::boolean[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::text[], $12::text[], $13::boolean[], $14::integer[])
        AS c (clicked_at, link, bot, referrer, browser, system, device, country, language, scan, number)
    WHERE k.ids[c.link] > 0
), seen AS (
    INSERT INTO click_visitors (day, link_id, visitor)
    SELECT v.day, k.ids[v.link], v.visitor
    FROM known k, unnest($15::timestamptz[], $16::integer[], $17::bigint[]) AS v (day, link, visitor)
    WHERE k.ids[v.link] > 0
    ON CONFLICT (day, link_id, visitor) DO NOTHING
    RETURNING day, link_id, visitor
), counted AS (
    SELECT coalesce(jsonb_object_agg(visited.hour::text, visited.number), '{}') AS visitors FROM (
        SELECT v.hour, count(*) AS number
        FROM known k
        CROSS JOIN (SELECT coalesce(jsonb_object_agg(concat_ws(' ', day, link_id, visitor), true), '{}') AS visits FROM seen) AS s
        CROSS JOIN unnest($15::timestamptz[], $16::integer[], $17::bigint[], $18::integer[]) AS v (day, link, visitor, hour)
        WHERE s.visits ? concat_ws(' ', v.day, k.ids[v.link], v.visitor)
        GROUP BY v.hour
    ) AS visited
), hours AS (
    INSERT INTO click_hours AS kept (link_id, start, clicks, bots, visitors, scans)
    SELECT k.ids[h.link], h.start, h.clicks, h.bots, coalesce((c.visitors ->> h.place::text)::bigint, 0), h.scans
    FROM known k CROSS JOIN counted c CROSS JOIN unnest($19::integer[], $20::timestamptz[], $21::bigint[], $22::bigint[], $23::bigint[])
        WITH ORDINALITY AS h (link, start, clicks, bots, scans, place)
    WHERE k.ids[h.link] > 0
    ON CONFLICT (link_id, start) DO UPDATE SET clicks = kept.clicks + excluded.clicks,
        bots = kept.bots + excluded.bots, visitors = kept.visitors + excluded.visitors,
        scans = kept.scans + excluded.scans
), pending AS (
    INSERT INTO unsummed_clicks (link_id, start, referrer, browser, system, device, country, language, clicks)
    SELECT k.ids[c.link], c.start, c.referrer, c.browser, c.system, c.device, c.country, c.language, c.clicks
    FROM known k, unnest($24::integer[], $25::timestamptz[], $26::text[], $27::text[], $28::text[], $29::text[],
        $30::text[], $31::text[], $32::bigint[])
        AS c (link, start, referrer, browser, system, device, country, language, clicks)
    WHERE k.ids[c.link] > 0
), totals AS (
    UPDATE links SET clicks = links.clicks + t.clicks
    FROM known k, unnest($33::integer[], $34::bigint[]) AS t (link, clicks) WHERE links.id = k.ids[t.link]
)
SELECT EXISTS (SELECT FROM batch) AS recorded";

const KEEP_SECRET: &str = "-- keep_secret()
INSERT INTO visitor_secrets (day, secret) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING";

const SECRET: &str = "-- secret()
SELECT secret FROM visitor_secrets WHERE day = $1";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < $1";

/// Stores a batch; `false` if it was stored before.
pub(super) async fn record(pool: &Pool, batch: &ClickBatch) -> Result<bool, Failure> {
    let links = batch.links();
    let (slugs, revisions): (Vec<&str>, Vec<i64>) = links
        .iter()
        .map(|(slug, revision)| (slug.as_str(), revision.get()))
        .unzip();
    let places: HashMap<Slug, LinkId> = (1..)
        .zip(links.keys())
        .map(|(place, slug)| ((*slug).clone(), place))
        .collect();
    let rollup = Rollup::of(&batch.clicks, &places);
    let clicks = Clicks::of(batch, &places);
    let sums = Sums::of(&rollup);
    let mut parameters: Vec<Parameter<'_>> = vec![
        (/* id */ &batch.id, Type::TEXT),
        (/* recorded_at */ &batch.made_at, Type::TIMESTAMPTZ),
        (/* slugs */ &slugs, Type::TEXT_ARRAY),
    ];
    parameters.extend(clicks.parameters());
    parameters.extend(sums.parameters());
    parameters.push((/* revisions */ &revisions, Type::INT8_ARRAY));
    let rows = pool
        .query_kept(Queue::Long, RECORD_CLICKS, &parameters)
        .await
        .map_err(Failure::or_refused)?;
    let row = rows.first().ok_or_else(|| corrupt("a batch has no outcome"))?;
    column(row, "recorded")
}

/// The clicks of a batch by column, for [`RECORD_CLICKS`].
struct Clicks<'a> {
    clicked_at: Vec<Timestamp>,
    link: Vec<i32>,
    bot: Vec<bool>,
    referrer: Vec<&'a str>,
    browser: Vec<&'a str>,
    system: Vec<&'a str>,
    device: Vec<&'a str>,
    country: Vec<Option<&'a str>>,
    language: Vec<&'a str>,
    scan: Vec<bool>,
    number: Vec<i32>,
}

impl<'a> Clicks<'a> {
    fn of(batch: &'a ClickBatch, places: &HashMap<Slug, LinkId>) -> Self {
        let clicks = &batch.clicks;
        let text = |of: fn(&'a Click) -> &'a str| -> Vec<&'a str> { clicks.iter().map(of).collect() };
        Self {
            clicked_at: clicks.iter().map(|click| click.at).collect(),
            link: clicks
                .iter()
                .map(|click| place(places.get(&click.slug).copied().unwrap_or(0)))
                .collect(),
            bot: clicks.iter().map(|click| click.bot).collect(),
            referrer: text(|click| &click.referrer),
            browser: text(|click| click.browser),
            system: text(|click| click.system),
            device: text(|click| click.device),
            country: clicks.iter().map(|click| click.country.as_deref()).collect(),
            language: text(|click| &click.language),
            scan: clicks.iter().map(|click| click.scan).collect(),
            number: clicks
                .iter()
                .map(|click| i32::try_from(click.number).unwrap_or(i32::MAX))
                .collect(),
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 11] {
        [
            (&self.clicked_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.link, Type::INT4_ARRAY),
            (&self.bot, Type::BOOL_ARRAY),
            (&self.referrer, Type::TEXT_ARRAY),
            (&self.browser, Type::TEXT_ARRAY),
            (&self.system, Type::TEXT_ARRAY),
            (&self.device, Type::TEXT_ARRAY),
            (&self.country, Type::TEXT_ARRAY),
            (&self.language, Type::TEXT_ARRAY),
            (&self.scan, Type::BOOL_ARRAY),
            (&self.number, Type::INT4_ARRAY),
        ]
    }
}

/// The sums of a batch by column, for [`RECORD_CLICKS`].
struct Sums<'a> {
    visitors: (Vec<Timestamp>, Vec<i32>, Vec<i64>, Vec<i32>),
    hour_link: Vec<i32>,
    hour_start: Vec<Timestamp>,
    hour_clicks: Vec<i64>,
    bots: Vec<i64>,
    scans: Vec<i64>,
    unsummed_link: Vec<i32>,
    unsummed_start: Vec<Timestamp>,
    referrer: Vec<&'a str>,
    browser: Vec<&'a str>,
    system: Vec<&'a str>,
    device: Vec<&'a str>,
    country: Vec<Option<&'a str>>,
    language: Vec<&'a str>,
    unsummed_clicks: Vec<i64>,
    totals: (Vec<i32>, Vec<i64>),
}

impl<'a> Sums<'a> {
    fn of(rollup: &Rollup<'a>) -> Self {
        let hours: HashMap<(LinkId, Timestamp), i32> = rollup.hours.keys().copied().zip(1..).collect();
        let visitors = rollup.visitors.iter();
        let visitors = visitors.map(|((day, link, hash), hour)| {
            (
                *day,
                place(*link),
                *hash,
                hours.get(&(*link, *hour)).copied().unwrap_or(0),
            )
        });
        let text = |of: fn(&Alike<'a>) -> &'a str| -> Vec<&'a str> { rollup.alike.keys().map(of).collect() };
        Self {
            visitors: visitors.collect(),
            hour_link: rollup.hours.keys().map(|(link, _)| place(*link)).collect(),
            hour_start: rollup.hours.keys().map(|(_, hour)| *hour).collect(),
            hour_clicks: rollup.hours.values().map(|counts| counts.clicks).collect(),
            bots: rollup.hours.values().map(|counts| counts.bots).collect(),
            scans: rollup.hours.values().map(|counts| counts.scans).collect(),
            unsummed_link: rollup.alike.keys().map(|alike| place(alike.link)).collect(),
            unsummed_start: rollup.alike.keys().map(|alike| alike.hour).collect(),
            referrer: text(|alike| alike.referrer),
            browser: text(|alike| alike.browser),
            system: text(|alike| alike.system),
            device: text(|alike| alike.device),
            country: rollup.alike.keys().map(|alike| alike.country).collect(),
            language: text(|alike| alike.language),
            unsummed_clicks: rollup.alike.values().copied().collect(),
            totals: rollup
                .totals
                .iter()
                .map(|(link, clicks)| (place(*link), *clicks))
                .unzip(),
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 20] {
        [
            (/* day */ &self.visitors.0, Type::TIMESTAMPTZ_ARRAY),
            (/* link */ &self.visitors.1, Type::INT4_ARRAY),
            (/* visitor */ &self.visitors.2, Type::INT8_ARRAY),
            (/* place of the hour */ &self.visitors.3, Type::INT4_ARRAY),
            (&self.hour_link, Type::INT4_ARRAY),
            (&self.hour_start, Type::TIMESTAMPTZ_ARRAY),
            (&self.hour_clicks, Type::INT8_ARRAY),
            (&self.bots, Type::INT8_ARRAY),
            (&self.scans, Type::INT8_ARRAY),
            (&self.unsummed_link, Type::INT4_ARRAY),
            (&self.unsummed_start, Type::TIMESTAMPTZ_ARRAY),
            (&self.referrer, Type::TEXT_ARRAY),
            (&self.browser, Type::TEXT_ARRAY),
            (&self.system, Type::TEXT_ARRAY),
            (&self.device, Type::TEXT_ARRAY),
            (&self.country, Type::TEXT_ARRAY),
            (&self.language, Type::TEXT_ARRAY),
            (&self.unsummed_clicks, Type::INT8_ARRAY),
            (/* link */ &self.totals.0, Type::INT4_ARRAY),
            (/* clicks */ &self.totals.1, Type::INT8_ARRAY),
        ]
    }
}

/// A place in the batch as the type of a subscript. A batch has far fewer links than that has values.
fn place(link: LinkId) -> i32 {
    i32::try_from(link).unwrap_or(0)
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
