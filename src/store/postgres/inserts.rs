//! Inserts links. Those that wait for a connection anyway go together: one statement, one commit.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::batch;
use super::failure::Failure;
use super::links::{cache_seconds, owner, status, to_revision};
use super::outcome;
use super::patience::within_or_longer;
use super::pool::{Parameter, Pool};
use crate::domain::{Actor, Link, Revision};
use crate::store::limits::WRITE_LIMIT;
use crate::store::{Candidate, Made, StoreError};

const INSERT_LINK: &str = "-- insert_link()
WITH changed AS (
    INSERT INTO links (slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds, forward_query,
        valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner)
    SELECT $1, drawn.revision, drawn.revision, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
    FROM (SELECT next_revision(0) AS revision OFFSET 0) AS drawn
    ON CONFLICT (slug) DO NOTHING
    RETURNING id, slug, revision
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.created', slug, id, revision, $16 FROM changed
)
SELECT revision FROM changed";

/// The most links of one statement. It bounds how long the first of them waits for the last.
const MOST: usize = 64;

/// How many may wait for each connection. More would only wait to be turned away.
const QUEUE: usize = 4 * MOST;

/// Inserts links, at most one statement under way for each connection for writes.
#[derive(Debug, Clone)]
pub(super) struct Inserts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    most_under_way: usize,
    /// Where the statements run: a caller that goes away must not end one that others wait for.
    runtime: Handle,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    under_way: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Whether its statement has begun.
    begun: Arc<AtomicBool>,
    link: Link,
    actor: Actor,
    answer: Answer,
}

type Answer = oneshot::Sender<Result<Revision, StoreError>>;

/// Links that are tried in one statement, in the order in which they came.
#[derive(Debug)]
struct Group {
    candidates: Vec<Candidate>,
    actors: Vec<Actor>,
    answers: Vec<Answer>,
}

impl Inserts {
    /// Inserts over the connections of `pool`, of which there are `connections`. Call it within the runtime that
    /// shall run them.
    pub(super) fn new(pool: Pool, connections: usize) -> Self {
        Self(Arc::new(Inner {
            pool,
            most_under_way: connections,
            runtime: Handle::current(),
            queue: Mutex::default(),
        }))
    }

    /// Keeps a new link, by itself or with others.
    pub(super) async fn insert(&self, link: &Link, actor: &Actor) -> Result<Revision, StoreError> {
        if !is_new(link) || link.owner.as_ref() != actor.key_id() {
            let inserted = self.0.insert_alone(link, actor).await;
            return inserted.map_err(|failure| failure.error);
        }
        let (answer, answered) = oneshot::channel();
        let begun = Arc::<AtomicBool>::default();
        let waiting = Waiting {
            begun: Arc::clone(&begun),
            link: link.clone(),
            actor: actor.clone(),
            answer,
        };
        if self.0.admit(waiting)? {
            let inner = Arc::clone(&self.0);
            self.0.runtime.spawn(async move {
                // A panic costs the links of one statement, and not those that wait.
                while AssertUnwindSafe(inner.work()).catch_unwind().await.is_err() {}
            });
        }
        let answered = async { Ok(answered.await.ok()) };
        // The statement has the same limit, but may begin late: when the one before it has come to its end.
        let cause = match within_or_longer(&self.0.pool, WRITE_LIMIT, answered).await {
            Ok(Some(result)) => return result,
            Ok(None) => StoreError::unavailable("the database's connections are closed"),
            Err(failure) => failure.error,
        };
        // The receiver is gone, so no statement begins with this link from here on.
        Err(outcome::unknown_if(self.0.has_begun(&begun), cause))
    }
}

impl Inner {
    /// Lets a link wait, and answers whether somebody must begin to work.
    fn admit(&self, waiting: Waiting) -> Result<bool, StoreError> {
        let mut queue = self.queue.lock();
        if queue.waiting.len() >= QUEUE * self.most_under_way {
            return Err(StoreError::Overloaded);
        }
        queue.waiting.push(waiting);
        let begins = queue.under_way < self.most_under_way;
        queue.under_way += usize::from(begins);
        Ok(begins)
    }

    /// Whether the statement of a link has begun. It is noted under the lock.
    fn has_begun(&self, begun: &AtomicBool) -> bool {
        let _queue = self.queue.lock();
        begun.load(Ordering::Relaxed)
    }

    /// The links that go together next. None, once: then the caller's work is done.
    fn next(&self) -> Vec<Waiting> {
        let mut queue = self.queue.lock();
        // Whoever does not wait any more was told that the link may not be there.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        // A statement has one actor for the links without an owner. Those of others wait for the next one.
        let mut actor: Option<Actor> = None;
        let mut group = Vec::new();
        for waiting in std::mem::take(&mut queue.waiting) {
            let fits = group.len() < MOST
                && (waiting.actor.key_id().is_some()
                    || *actor.get_or_insert_with(|| waiting.actor.clone()) == waiting.actor);
            if fits {
                waiting.begun.store(true, Ordering::Relaxed);
                group.push(waiting);
            } else {
                queue.waiting.push(waiting);
            }
        }
        queue.under_way -= usize::from(group.is_empty());
        group
    }

    async fn work(&self) {
        loop {
            let waiting = self.next();
            if waiting.is_empty() {
                return;
            }
            self.insert_group(Group::of(waiting)).await;
        }
    }

    /// Inserts the links of a group together. If the server refuses the data of one, the group is tried in halves, so that
    /// only the faulty one fails. Any other error is that of all.
    async fn insert_group(&self, group: Group) {
        let mut open = vec![group];
        while let Some(mut group) = open.pop() {
            group.forget_those_who_left();
            let result = match group.candidates.as_slice() {
                [] => continue,
                [candidate] => {
                    let inserted = self.insert_alone(&candidate.link, &group.actors[0]).await;
                    inserted.map(|revision| vec![Made::Inserted(revision)])
                }
                _ => self.insert_together(&group).await,
            };
            match result {
                Ok(made) => group.answer(made),
                Err(failure) if failure.is_of_data() && group.candidates.len() > 1 => {
                    let second = group.split();
                    open.extend([second, group]);
                }
                Err(failure) if failure.is_of_data() || matches!(failure.error, StoreError::SlugTaken) => {
                    group.refuse(&failure.error);
                }
                Err(failure) => {
                    group.refuse(&failure.error);
                    for group in open.drain(..) {
                        group.refuse(&failure.error);
                    }
                }
            }
        }
    }

    async fn insert_together(&self, group: &Group) -> Result<Vec<Made>, Failure> {
        // That of the links without an owner, if there are any.
        let actor = group
            .actors
            .iter()
            .find(|actor| actor.key_id().is_none())
            .unwrap_or(&Actor::System);
        let inserting = batch::insert_all(&self.pool, &group.candidates, actor);
        outcome::of_write(within_or_longer(&self.pool, WRITE_LIMIT, inserting)).await
    }

    async fn insert_alone(&self, link: &Link, actor: &Actor) -> Result<Revision, Failure> {
        let parameters: [Parameter<'_>; 16] = [
            (/* slug */ &link.slug.as_str(), Type::TEXT),
            (/* target */ &link.target.as_str(), Type::TEXT),
            (/* title */ &link.title, Type::TEXT),
            (/* tags */ &link.tags, Type::TEXT_ARRAY),
            (/* redirect_status */ &status(link), Type::INT2),
            (/* cache_seconds */ &cache_seconds(link), Type::INT4),
            (/* forward_query */ &link.forward_query, Type::BOOL),
            (/* valid_from */ &link.valid_from, Type::TIMESTAMPTZ),
            (/* expires_at */ &link.expires_at, Type::TIMESTAMPTZ),
            (/* max_clicks */ &link.max_clicks, Type::INT8),
            (/* disabled */ &link.disabled, Type::BOOL),
            (/* updated_at */ &link.updated_at, Type::TIMESTAMPTZ),
            (/* clicks */ &link.clicks, Type::INT8),
            (/* created_at */ &link.created_at, Type::TIMESTAMPTZ),
            (/* owner */ &owner(link), Type::TEXT),
            (/* actor */ &actor.to_string(), Type::TEXT),
        ];
        let inserting = self.pool.query_opt(INSERT_LINK, &parameters);
        let inserting = within_or_longer(&self.pool, WRITE_LIMIT, inserting);
        let row: Option<Row> = outcome::of_write(inserting).await?;
        row.ok_or(StoreError::SlugTaken)
            .and_then(|row| to_revision(&row))
            .map_err(Failure::of_outcome)
    }
}

impl Group {
    fn of(waiting: Vec<Waiting>) -> Self {
        let mut group = Self {
            candidates: Vec::with_capacity(waiting.len()),
            actors: Vec::with_capacity(waiting.len()),
            answers: Vec::with_capacity(waiting.len()),
        };
        for Waiting {
            link, actor, answer, ..
        } in waiting
        {
            group.candidates.push(Candidate {
                link,
                chosen: true,
                reuse: false,
            });
            group.actors.push(actor);
            group.answers.push(answer);
        }
        group
    }

    /// Whoever left was told that the link may not be there.
    fn forget_those_who_left(&mut self) {
        let stay: Vec<bool> = self.answers.iter().map(|answer| !answer.is_closed()).collect();
        let kept = |at: &mut usize| {
            *at += 1;
            stay[*at - 1]
        };
        let (mut first, mut second, mut third) = (0, 0, 0);
        self.candidates.retain(|_| kept(&mut first));
        self.actors.retain(|_| kept(&mut second));
        self.answers.retain(|_| kept(&mut third));
    }

    /// Leaves the first half, and answers the second.
    fn split(&mut self) -> Self {
        let middle = self.candidates.len() / 2;
        Self {
            candidates: self.candidates.split_off(middle),
            actors: self.actors.split_off(middle),
            answers: self.answers.split_off(middle),
        }
    }

    fn answer(self, made: Vec<Made>) {
        for (made, answer) in made.into_iter().zip(self.answers) {
            let _ = answer.send(match made {
                Made::Inserted(revision) => Ok(revision),
                Made::Reused(_) | Made::SlugTaken => Err(StoreError::SlugTaken),
            });
        }
    }

    fn refuse(self, error: &StoreError) {
        for answer in self.answers {
            let _ = answer.send(Err(match error {
                StoreError::SlugTaken => StoreError::SlugTaken,
                StoreError::Overloaded => StoreError::Overloaded,
                StoreError::Unavailable(cause) => StoreError::unavailable(cause.to_string()),
                StoreError::OutcomeUnknown(cause) => StoreError::OutcomeUnknown(cause.to_string().into()),
                error => StoreError::unavailable(error.to_string()),
            }));
        }
    }
}

/// Whether a link is as every one is made: only such links go together.
fn is_new(link: &Link) -> bool {
    !link.disabled && link.clicks == 0 && link.updated_at == link.created_at
}
