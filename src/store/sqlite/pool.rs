//! Threads that own connections: one that writes, as SQLite allows, and some that read. No async thread ever
//! waits for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tokio::sync::oneshot;

use super::failure::unavailable;
use crate::store::StoreError;
use crate::telemetry::metrics::{Counter, Metrics, POOL_IN_USE, POOL_MAX, POOL_OPEN, POOL_WAITING};

/// How many operations may wait for a thread.
const QUEUE: usize = 1024;

/// How many instructions of its virtual machine SQLite runs between two looks at the deadline: some 10 us.
const INSTRUCTIONS: i32 = 1000;

struct Work {
    /// A statement that still runs then is interrupted, and its transaction rolled back.
    deadline: Instant,
    job: Box<dyn FnOnce(&mut Connection) + Send>,
}

/// Threads that take work from one queue.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Mutex<Option<SyncSender<Work>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    load: Arc<Load>,
    timeouts: Arc<Counter>,
}

/// What the threads have to do.
#[derive(Debug, Default)]
struct Load {
    waiting: AtomicUsize,
    at_work: AtomicUsize,
}

impl Pool {
    /// Starts a thread for each connection. `finish` is called with it when the thread ends; `name` is what the
    /// figures are called by.
    pub(super) fn start(
        name: &'static str,
        mut connections: Vec<Connection>,
        finish: fn(&Connection),
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let (queue, work) = sync_channel::<Work>(QUEUE);
        let work = Arc::new(Mutex::new(work));
        let load = Arc::<Load>::default();
        watch(metrics, name, connections.len(), &load);
        for connection in &mut connections {
            measure(connection, metrics)?;
        }
        let start = |mut connection: Connection| -> Result<JoinHandle<()>, StoreError> {
            let (work, load) = (Arc::clone(&work), Arc::clone(&load));
            let deadline = Deadline::of(&mut connection)?;
            let thread = thread::Builder::new().name(format!("sqlite-{name}"));
            let started = thread.spawn(move || {
                while let Some(Work { deadline: at, job }) = next(&work) {
                    load.waiting.fetch_sub(1, Ordering::Relaxed);
                    load.at_work.fetch_add(1, Ordering::Relaxed);
                    // What the job had begun is rolled back as it unwinds; its caller misses the answer.
                    deadline.set(at);
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
                    deadline.clear();
                    load.at_work.fetch_sub(1, Ordering::Relaxed);
                }
                finish(&connection);
            });
            started.map_err(StoreError::unavailable)
        };
        let threads = connections.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            threads: Mutex::new(threads),
            load,
            timeouts: metrics.pool_timeouts.get(name),
        })
    }

    /// Has a thread run `operation`, and waits for its answer for `limit`; what still runs then is interrupted and rolled
    /// back. An operation whose caller is gone before its turn is left out.
    pub(super) async fn run<T, F>(&self, limit: Duration, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &mut Connection| {
            if !answer.is_closed() {
                // The caller may have gone meanwhile; what was done stays done.
                let _ = answer.send(operation(connection));
            }
        });
        let deadline = Instant::now() + limit;
        self.enqueue(Work { deadline, job })?;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Panicked),
            Err(_) => {
                self.timeouts.add_one();
                Err(StoreError::unavailable(format!(
                    "no answer within {} ms",
                    limit.as_millis()
                )))
            }
        }
    }

    /// Takes no more work, and waits until what was queued is done and the connections are closed.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().take());
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = blocking(move || {
            for thread in threads {
                thread
                    .join()
                    .map_err(|_| StoreError::unavailable("a thread of the store has panicked"))?;
            }
            Ok(())
        });
        if let Err(err) = joined.await {
            tracing::error!(error = %err, "the store was not closed properly: {err}");
        }
    }

    fn enqueue(&self, work: Work) -> Result<(), StoreError> {
        match &*self.queue.lock() {
            None => Err(StoreError::unavailable("the store is closed")),
            Some(queue) => {
                // Before the work is there to be taken.
                self.load.waiting.fetch_add(1, Ordering::Relaxed);
                queue.try_send(work).map_err(|err| {
                    self.load.waiting.fetch_sub(1, Ordering::Relaxed);
                    match err {
                        TrySendError::Full(_) => {
                            self.timeouts.add_one();
                            StoreError::unavailable("too many operations wait for the store")
                        }
                        TrySendError::Disconnected(_) => {
                            StoreError::unavailable("the store's threads have ended")
                        }
                    }
                })
            }
        }
    }
}

/// When the operation of a connection has to end. SQLite looks at it while a statement runs.
struct Deadline {
    began: Instant,
    /// Microseconds since `began`.
    at: Arc<AtomicU64>,
}

impl Deadline {
    fn of(connection: &mut Connection) -> Result<Self, StoreError> {
        let began = Instant::now();
        let at = Arc::new(AtomicU64::new(u64::MAX));
        let watched = Arc::clone(&at);
        let has_passed = move || micros(began.elapsed()) > watched.load(Ordering::Relaxed);
        connection
            .progress_handler(INSTRUCTIONS, Some(has_passed))
            .map_err(unavailable)?;
        Ok(Self { began, at })
    }

    fn set(&self, at: Instant) {
        let after = at.saturating_duration_since(self.began);
        self.at.store(micros(after), Ordering::Relaxed);
    }

    fn clear(&self) {
        self.at.store(u64::MAX, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Shows what the threads do.
fn watch(metrics: &Metrics, name: &'static str, size: usize, load: &Arc<Load>) {
    for family in [&POOL_MAX, &POOL_OPEN] {
        metrics.watch(family, name, move || Some(size as f64));
    }
    let at_work = Arc::clone(load);
    metrics.watch(&POOL_IN_USE, name, move || {
        Some(at_work.at_work.load(Ordering::Relaxed) as f64)
    });
    let waiting = Arc::clone(load);
    metrics.watch(&POOL_WAITING, name, move || {
        Some(waiting.waiting.load(Ordering::Relaxed) as f64)
    });
}

/// Has SQLite tell when each statement begins and ends. Its own measure of time is in whole milliseconds.
fn measure(connection: &mut Connection, metrics: &Arc<Metrics>) -> Result<(), StoreError> {
    let metrics = Arc::clone(metrics);
    let mut began = Instant::now();
    let note = move |event: TraceEvent<'_>| match event {
        TraceEvent::Stmt(_, _) => began = Instant::now(),
        TraceEvent::Profile(statement, _) => {
            metrics.statements.took(&statement.sql(), began.elapsed());
        }
        _ => {}
    };
    let events = TraceEventCodes::SQLITE_TRACE_STMT | TraceEventCodes::SQLITE_TRACE_PROFILE;
    connection.trace_v2(events, Some(note)).map_err(unavailable)
}

/// The next piece of work, or `None` once the queue is closed and empty.
fn next(work: &Mutex<Receiver<Work>>) -> Option<Work> {
    work.lock().recv().ok()
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T, F>(operation: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    tokio::task::spawn_blocking(operation)
        .await
        .unwrap_or(Err(StoreError::Panicked))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rusqlite::{Connection, TransactionBehavior};

    use super::{Pool, unavailable};
    use crate::store::StoreError;
    use crate::telemetry::metrics::Metrics;

    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    fn pool() -> Pool {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE notes (text TEXT)")
            .unwrap();
        Pool::start("test", vec![connection], |_| (), &Arc::<Metrics>::default()).unwrap()
    }

    async fn number(pool: &Pool) -> Result<i64, StoreError> {
        let count = |connection: &mut Connection| {
            connection
                .query_row("SELECT count(*) FROM notes", [], |row| row.get(0))
                .map_err(unavailable)
        };
        pool.run(Duration::from_secs(5), count).await
    }

    #[tokio::test]
    async fn a_statement_ends_at_its_callers_deadline_and_its_transaction_is_rolled_back() {
        let pool = pool();

        let endless = pool
            .run(Duration::from_millis(50), |connection| {
                let transaction = connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)
                    .map_err(unavailable)?;
                transaction
                    .execute("INSERT INTO notes VALUES ('lost')", [])
                    .map_err(unavailable)?;
                let number: i64 = transaction
                    .query_row(ENDLESS, [], |row| row.get(0))
                    .map_err(unavailable)?;
                transaction.commit().map_err(unavailable)?;
                Ok(number)
            })
            .await;

        assert!(matches!(endless, Err(StoreError::Unavailable(_))), "{endless:?}");
        assert_eq!(number(&pool).await.unwrap(), 0);
        pool.close().await;
    }

    #[tokio::test]
    async fn an_operation_that_panics_is_rolled_back_and_its_thread_goes_on() {
        let pool = pool();

        let panicked: Result<(), _> = pool
            .run(Duration::from_secs(5), |connection| {
                let transaction = connection.transaction().map_err(unavailable)?;
                transaction
                    .execute("INSERT INTO notes VALUES ('lost')", [])
                    .map_err(unavailable)?;
                panic!("provoked by a test");
            })
            .await;

        assert!(matches!(panicked, Err(StoreError::Panicked)), "{panicked:?}");
        assert_eq!(number(&pool).await.unwrap(), 0);
        pool.close().await;
    }
}
