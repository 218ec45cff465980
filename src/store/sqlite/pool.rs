//! Threads that own connections: one that writes, as SQLite allows, and some that read. No async thread ever
//! waits for the disk.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tokio::sync::oneshot;

use super::failure::unavailable;
use crate::store::StoreError;
use crate::telemetry::metrics::{Counter, Metrics, POOL_IN_USE, POOL_MAX, POOL_OPEN, POOL_WAITING};

/// How many operations may wait for a thread.
const QUEUE: usize = 1024;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

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
        let start = |mut connection: Connection| -> io::Result<JoinHandle<()>> {
            let (work, load) = (Arc::clone(&work), Arc::clone(&load));
            let thread = thread::Builder::new().name(format!("sqlite-{name}"));
            thread.spawn(move || {
                while let Some(job) = next(&work) {
                    load.waiting.fetch_sub(1, Ordering::Relaxed);
                    load.at_work.fetch_add(1, Ordering::Relaxed);
                    job(&mut connection);
                    load.at_work.fetch_sub(1, Ordering::Relaxed);
                }
                finish(&connection);
            })
        };
        let threads = connections
            .into_iter()
            .map(start)
            .collect::<Result<_, _>>()
            .map_err(StoreError::unavailable)?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            threads: Mutex::new(threads),
            load,
            timeouts: metrics.pool_timeouts.get(name),
        })
    }

    /// Has a thread run `operation`, and waits for its answer. An operation whose caller is gone before its
    /// turn is left out.
    pub(super) async fn run<T, F>(&self, limit: Duration, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Box::new(move |connection| {
            if !answer.is_closed() {
                // The caller may have gone meanwhile; what was done stays done.
                let _ = answer.send(operation(connection));
            }
        }))?;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::unavailable("the store's thread has ended")),
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
        drop(self.queue.lock().expect("queue lock poisoned").take());
        let threads = std::mem::take(&mut *self.threads.lock().expect("threads lock poisoned"));
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
        match &*self.queue.lock().expect("queue lock poisoned") {
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
    work.lock().expect("work lock poisoned").recv().ok()
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T, F>(operation: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    tokio::task::spawn_blocking(operation)
        .await
        .unwrap_or_else(|err| Err(StoreError::unavailable(err)))
}
