//! Several links in one transaction, and answers that are given only once.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::failure::unavailable;
use super::links::{column, corrupt, tags, to_link};
use super::writes::insert_row;
use crate::domain::{Actor, KeyId, Link, Slug};
use crate::store::batch::collided;
use crate::store::{Answer, BatchOutcome, Candidate, Made, Once, StoreError};

const REUSABLE_LINK: &str = "-- reusable_link()
SELECT slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links
WHERE target = ?1 AND owner IS ?2 AND (?3 IS NULL OR slug = ?3) AND title IS ?4 AND tags = ?5 AND redirect_status = ?6
    AND cache_seconds IS ?7 AND forward_query = ?8 AND valid_from IS ?9 AND expires_at IS ?10 AND max_clicks IS ?11
    AND disabled = 0 AND (valid_from IS NULL OR valid_from <= ?12) AND (expires_at IS NULL OR expires_at > ?12)
    AND (max_clicks IS NULL OR clicks < max_clicks)
ORDER BY id
LIMIT 1";

const ANSWER: &str = "-- answer()
SELECT request, status, location, body FROM answers WHERE caller = ?1 AND key = ?2 AND expires_at > ?3";

const KEEP_ANSWER: &str = "-- keep_answer()
INSERT OR REPLACE INTO answers (caller, key, request, status, location, body, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Two for each that is kept, so that they do not pile up.
const FORGET_ANSWERS: &str = "-- forget_answers()
DELETE FROM answers WHERE rowid IN (
    SELECT rowid FROM answers WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 2
)";

/// IMMEDIATE: only one writer at a time gets past the first line, so what is looked for stays as it is.
pub(super) fn insert_links(
    connection: &mut Connection,
    candidates: &[Candidate],
    once: Option<&Once>,
    actor: &Actor,
) -> Result<BatchOutcome, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    if let Some(once) = once
        && let Some(answered) = answered(&transaction, once)?
    {
        return Ok(answered);
    }
    let made = candidates
        .iter()
        .map(|candidate| make(&transaction, candidate, actor))
        .collect::<Result<Vec<_>, _>>()?;
    let mut answer = None;
    if let Some(once) = once {
        let collided = collided(candidates, &made);
        if !collided.is_empty() {
            return Ok(BatchOutcome::Collided(collided));
        }
        answer = (once.render)(&made);
        match &answer {
            Some(answer) => keep(&transaction, once, answer)?,
            None => return Ok(BatchOutcome::Done(made, None)),
        }
    }
    transaction.commit().map_err(unavailable)?;
    Ok(BatchOutcome::Done(made, answer))
}

fn make(connection: &Connection, candidate: &Candidate, actor: &Actor) -> Result<Made, StoreError> {
    if candidate.reuse
        && let Some(link) = reusable(connection, candidate)?
    {
        return Ok(Made::Reused(Box::new(link)));
    }
    Ok(insert_row(connection, &candidate.link, actor)?.map_or(Made::SlugTaken, Made::Inserted))
}

fn reusable(connection: &Connection, candidate: &Candidate) -> Result<Option<Link>, StoreError> {
    let Candidate { link, chosen, .. } = candidate;
    let parameters = params![
        /* target */ link.target.as_str(),
        /* owner */ link.owner.as_ref().map(KeyId::as_str),
        /* slug */ chosen.then_some(link.slug.as_str()),
        /* title */ link.title,
        /* tags */ tags(link)?,
        /* redirect_status */ link.redirect_status.code(),
        /* cache_seconds */ link.cache_seconds,
        /* forward_query */ link.forward_query,
        /* valid_from */ link.valid_from.map(Timestamp::as_microsecond),
        /* expires_at */ link.expires_at.map(Timestamp::as_microsecond),
        /* max_clicks */ link.max_clicks,
        /* now */ link.created_at.as_microsecond(),
    ];
    let mut statement = connection.prepare_cached(REUSABLE_LINK).map_err(unavailable)?;
    let mut rows = statement.query(parameters).map_err(unavailable)?;
    let Some(row) = rows.next().map_err(unavailable)? else {
        return Ok(None);
    };
    let slug: Slug = column::<String>(row, "slug")?.parse().map_err(corrupt("slug"))?;
    to_link(slug, row).map(Some)
}

fn answered(connection: &Connection, once: &Once) -> Result<Option<BatchOutcome>, StoreError> {
    let parameters = params![
        /* caller */ once.caller,
        /* key */ once.key,
        /* now */ once.now.as_microsecond()
    ];
    let found = connection
        .prepare_cached(ANSWER)
        .map_err(unavailable)?
        .query_row(parameters, |row| {
            let answer = Answer {
                status: row.get(1)?,
                location: row.get(2)?,
                body: row.get(3)?,
            };
            Ok((row.get::<_, Vec<u8>>(0)?, answer))
        })
        .optional()
        .map_err(unavailable)?;
    Ok(found.map(|(request, answer)| {
        if request == once.request {
            BatchOutcome::Replayed(answer)
        } else {
            BatchOutcome::Mismatch
        }
    }))
}

fn keep(connection: &Connection, once: &Once, answer: &Answer) -> Result<(), StoreError> {
    let parameters = params![
        /* caller */ once.caller,
        /* key */ once.key,
        /* request */ once.request.as_slice(),
        /* status */ answer.status,
        /* location */ answer.location,
        /* body */ answer.body,
        /* expires_at */ once.expires_at.as_microsecond(),
    ];
    connection
        .prepare_cached(KEEP_ANSWER)
        .and_then(|mut statement| statement.execute(parameters))
        .map_err(unavailable)?;
    connection
        .prepare_cached(FORGET_ANSWERS)
        .and_then(|mut statement| statement.execute(params![/* now */ once.now.as_microsecond()]))
        .map_err(unavailable)?;
    Ok(())
}
