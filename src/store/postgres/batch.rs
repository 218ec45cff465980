//! Several links in one statement, and answers that are given only once.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::document::{Item, document};
use super::failure::Failure;
use super::links::{column, corrupt, to_link};
use super::patience::within_or_longer;
use super::pool::{Parameter, Pool, Queue};
use super::work::Work;
use crate::domain::{Actor, KeyId, Revision, Slug};
use crate::store::batch::collided;
use crate::store::limits::{LONG_LIMIT, WRITE_LIMIT};
use crate::store::{Answer, BatchOutcome, Candidate, Made, Once, StoreError};

/// Numbered in the order of the list, so that a later link is a newer one and the first of two with one slug wins.
/// Inserted in the order of their slugs, so that two lists with the same slugs do not wait for each other in a circle.
/// A link with an owner was created by it.
const INSERT_LINKS: &str = "-- insert_links()
WITH changed AS (
INSERT INTO links (id, slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner)
OVERRIDING SYSTEM VALUE
SELECT id, slug, revision, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from,
    expires_at, max_clicks, false, created_at, 0, created_at, owner
FROM (
    SELECT nextval('links_id_seq') AS id, next_revision(0) AS revision,
        slug, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at, max_clicks,
        created_at, owner
    FROM (
        SELECT slug, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
            max_clicks, created_at, owner
        FROM ROWS FROM (json_to_recordset(CAST(CAST($1 AS text) AS json)) AS (slug text, target text, title text, tags text[],
            redirect_status smallint, cache_seconds integer, forward_query boolean, valid_from timestamptz,
            expires_at timestamptz, max_clicks bigint, created_at timestamptz, owner text)) WITH ORDINALITY
            AS item (slug, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
                max_clicks, created_at, owner, place)
        ORDER BY place
    ) AS item
) AS numbered
ORDER BY slug COLLATE \"C\", id
ON CONFLICT (slug) DO NOTHING
RETURNING id, slug, revision, owner
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.created', slug, id, revision, coalesce('key:' || owner, $2) FROM changed
)
SELECT slug, revision FROM changed";

const REUSABLE_LINKS: &str = "-- reusable_links()
SELECT item.place, found.slug, found.revision, found.target, found.title, found.tags, found.redirect_status,
    found.cache_seconds, found.forward_query, found.valid_from, found.expires_at, found.max_clicks, found.disabled,
    found.clicks, found.created_at, found.updated_at, found.owner
FROM json_to_recordset(CAST($1 AS json)) AS item (place bigint, wanted text, target text, title text, tags text[],
    redirect_status smallint, cache_seconds integer, forward_query boolean, valid_from timestamptz,
    expires_at timestamptz, max_clicks bigint, created_at timestamptz, owner text)
CROSS JOIN LATERAL (
    SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
        max_clicks, disabled, clicks, created_at, updated_at, owner
    FROM links
    WHERE hashtextextended(links.target, 0) = hashtextextended(item.target, 0) AND links.target = item.target
        AND links.owner IS NOT DISTINCT FROM item.owner
        AND (item.wanted IS NULL OR links.slug = item.wanted)
        AND links.title IS NOT DISTINCT FROM item.title AND links.tags = item.tags
        AND links.redirect_status = item.redirect_status
        AND links.cache_seconds IS NOT DISTINCT FROM item.cache_seconds
        AND links.forward_query = item.forward_query
        AND links.valid_from IS NOT DISTINCT FROM item.valid_from
        AND links.expires_at IS NOT DISTINCT FROM item.expires_at
        AND links.max_clicks IS NOT DISTINCT FROM item.max_clicks
        AND NOT links.disabled AND (links.valid_from IS NULL OR links.valid_from <= item.created_at)
        AND (links.expires_at IS NULL OR links.expires_at > item.created_at)
        AND (links.max_clicks IS NULL OR links.clicks < links.max_clicks)
    ORDER BY links.id
    LIMIT 1
) AS found";

/// Advisory locks that the targets of one owner share. A request takes each of its stripes once, so a bulk request holds
/// at most this many locks, however many targets it has.
const STRIPES: u8 = 16;

/// The keys are of one `bigint`: PostgreSQL keeps them apart from keys of two integers, such as those of migrations and
/// maintenance. Their text names the schema, so two deployments in one database do not wait for each other.
const LOCK_TARGETS: &str = "-- lock_targets()
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'targets', current_schema(), stripe.name), 0))
FROM unnest($1) AS stripe (name)";

/// Waits for another transaction that has the same name.
const CLAIM_ANSWER: &str = "-- claim_answer()
INSERT INTO answers (caller, key, request, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (caller, key) DO UPDATE SET request = $3, status = NULL, location = NULL, body = NULL, expires_at = $4
WHERE answers.expires_at <= $5
RETURNING key";

const ANSWER: &str = "-- answer()
SELECT request, status, location, body FROM answers WHERE caller = $1 AND key = $2 AND status IS NOT NULL";

const KEEP_ANSWER: &str = "-- keep_answer()
UPDATE answers SET status = $3, location = $4, body = $5 WHERE caller = $1 AND key = $2";

/// Two for each that is kept, so that they do not pile up.
const FORGET_ANSWERS: &str = "-- forget_answers()
DELETE FROM answers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT 2 FOR UPDATE SKIP LOCKED
))";

pub(super) async fn insert_links(
    writes: &Pool,
    candidates: &[Candidate],
    once: Option<&Once>,
    actor: &Actor,
) -> Result<BatchOutcome, StoreError> {
    let work = async {
        if once.is_some() || candidates.iter().any(|candidate| candidate.reuse) {
            return in_transaction(writes, candidates, once, actor).await;
        }
        let made = insert_all(writes, candidates, actor).await?;
        Ok(BatchOutcome::Done(made, None))
    };
    let limit = if candidates.len() > 1 {
        LONG_LIMIT
    } else {
        WRITE_LIMIT
    };
    within_or_longer(writes, limit, work)
        .await
        .map_err(|failure| failure.error)
}

/// Inserts links that nothing stands in the way of but a taken slug. One statement is a transaction of its own, and
/// one round trip. `actor` is that of the links without an owner.
pub(super) async fn insert_all(
    writes: &Pool,
    candidates: &[Candidate],
    actor: &Actor,
) -> Result<Vec<Made>, Failure> {
    let places: Vec<usize> = (0..candidates.len()).collect();
    let document = document(candidates.iter().map(|candidate| Item::from(&candidate.link)))?;
    let parameters: [Parameter<'_>; 2] = [
        (/* links */ &document, Type::TEXT),
        (/* actor */ &actor.to_string(), Type::TEXT),
    ];
    let rows = writes.query_kept(Queue::Long, INSERT_LINKS, &parameters).await?;
    let mut made = vec![Made::SlugTaken; candidates.len()];
    note_inserted(candidates, &places, &rows, &mut made)?;
    Ok(made)
}

async fn in_transaction(
    writes: &Pool,
    candidates: &[Candidate],
    once: Option<&Once>,
    actor: &Actor,
) -> Result<BatchOutcome, Failure> {
    let work = Work::begin(writes).await?;
    if let Some(once) = once
        && let Some(answered) = claim(&work, once).await?
    {
        work.roll_back().await?;
        return Ok(answered);
    }
    let mut made = vec![Made::SlugTaken; candidates.len()];
    let open = reuse(&work, candidates, &mut made).await?;
    if !open.is_empty() {
        let document = document(open.iter().map(|at| Item::from(&candidates[*at].link)))?;
        let parameters: [Parameter<'_>; 2] = [
            (/* links */ &document, Type::TEXT),
            (/* actor */ &actor.to_string(), Type::TEXT),
        ];
        let rows = work.query(INSERT_LINKS, &parameters).await?;
        note_inserted(candidates, &open, &rows, &mut made)?;
    }
    let Some(once) = once else {
        work.commit().await?;
        return Ok(BatchOutcome::Done(made, None));
    };
    let collided = collided(candidates, &made);
    let answer = (once.render)(&made);
    match answer {
        _ if !collided.is_empty() => {
            work.roll_back().await?;
            Ok(BatchOutcome::Collided(collided))
        }
        None => {
            work.roll_back().await?;
            Ok(BatchOutcome::Done(made, None))
        }
        Some(answer) => {
            keep(&work, once, &answer).await?;
            work.commit().await?;
            Ok(BatchOutcome::Done(made, Some(answer)))
        }
    }
}

/// Takes the name of the request; otherwise what was answered to it.
async fn claim(work: &Work<'_>, once: &Once) -> Result<Option<BatchOutcome>, Failure> {
    let parameters: [Parameter<'_>; 5] = [
        (/* caller */ &once.caller, Type::TEXT),
        (/* key */ &once.key, Type::TEXT),
        (/* request */ &once.request.as_slice(), Type::BYTEA),
        (/* expires_at */ &once.expires_at, Type::TIMESTAMPTZ),
        (/* now */ &once.now, Type::TIMESTAMPTZ),
    ];
    if !work.query(CLAIM_ANSWER, &parameters).await?.is_empty() {
        return Ok(None);
    }
    let rows = work.query(ANSWER, &parameters[..2]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Failure::of_outcome(StoreError::unavailable("an answer was forgotten just now")))?;
    if column::<&[u8]>(row, "request").map_err(Failure::of_outcome)? != once.request {
        return Ok(Some(BatchOutcome::Mismatch));
    }
    let answer = || {
        Ok(Answer {
            status: u16::try_from(column::<i16>(row, "status")?).map_err(corrupt("status"))?,
            location: column(row, "location")?,
            body: column(row, "body")?,
        })
    };
    answer()
        .map(|answer| Some(BatchOutcome::Replayed(answer)))
        .map_err(Failure::of_outcome)
}

async fn keep(work: &Work<'_>, once: &Once, answer: &Answer) -> Result<(), Failure> {
    let parameters: [Parameter<'_>; 5] = [
        (/* caller */ &once.caller, Type::TEXT),
        (/* key */ &once.key, Type::TEXT),
        (
            /* status */ &i16::try_from(answer.status).unwrap_or(i16::MAX),
            Type::INT2,
        ),
        (/* location */ &answer.location, Type::TEXT),
        (/* body */ &answer.body, Type::BYTEA),
    ];
    work.query(KEEP_ANSWER, &parameters).await?;
    work.query(FORGET_ANSWERS, &[(/* now */ &once.now, Type::TIMESTAMPTZ)])
        .await?;
    Ok(())
}

/// Finds links that will do, and answers the places of the candidates that need one of their own. Of several
/// transactions with the same target only one at a time gets past the lock.
async fn reuse(work: &Work<'_>, candidates: &[Candidate], made: &mut [Made]) -> Result<Vec<usize>, Failure> {
    let wanting: Vec<usize> = (0..candidates.len()).filter(|at| candidates[*at].reuse).collect();
    if !wanting.is_empty() {
        // In one order for all, so that two transactions do not wait for each other.
        let stripes: BTreeSet<String> = wanting.iter().map(|at| stripe(&candidates[*at])).collect();
        let stripes: Vec<String> = stripes.into_iter().collect();
        work.query(LOCK_TARGETS, &[(/* stripes */ &stripes, Type::TEXT_ARRAY)])
            .await?;
        let document = document(wanting.iter().map(|at| Wanting::of(*at, &candidates[*at])))?;
        let rows = work.query(REUSABLE_LINKS, &[(&document, Type::TEXT)]).await?;
        for row in &rows {
            let found = || {
                let slug: Slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
                let place = usize::try_from(column::<i64>(row, "place")?).map_err(corrupt("place"))?;
                Ok((place, to_link(&slug, row)?))
            };
            let (place, link) = found().map_err(Failure::of_outcome)?;
            made[place] = Made::Reused(Box::new(link));
        }
    }
    Ok((0..made.len())
        .filter(|at| !matches!(made[*at], Made::Reused(_)))
        .collect())
}

/// The lock of a candidate's target: candidates with one owner and one target have the same.
fn stripe(candidate: &Candidate) -> String {
    let digest = Sha256::digest(candidate.link.target.as_str());
    let owner = candidate.link.owner.as_ref().map_or("", KeyId::as_str);
    format!("{owner} {:02}", digest[0] % STRIPES)
}

/// A candidate that an older link may stand in for.
#[derive(Serialize)]
struct Wanting<'a> {
    place: usize,
    wanted: Option<&'a Slug>,
    #[serde(flatten)]
    link: Item<'a>,
}

impl<'a> Wanting<'a> {
    fn of(place: usize, Candidate { link, chosen, .. }: &'a Candidate) -> Self {
        Self {
            place,
            wanted: chosen.then_some(&link.slug),
            link: Item::from(link),
        }
    }
}

/// Of two candidates with one slug the first has it.
fn note_inserted(
    candidates: &[Candidate],
    places: &[usize],
    rows: &[Row],
    made: &mut [Made],
) -> Result<(), Failure> {
    let read = |row| Ok((column::<&str>(row, "slug")?, column::<i64>(row, "revision")?));
    let mut revisions = rows
        .iter()
        .map(read)
        .collect::<Result<HashMap<_, _>, _>>()
        .map_err(Failure::of_outcome)?;
    for place in places {
        if let Some(revision) = revisions.remove(candidates[*place].link.slug.as_str()) {
            made[*place] = Made::Inserted(Revision::new(revision));
        }
    }
    Ok(())
}
