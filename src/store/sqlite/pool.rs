//! Threads that own connections: one that writes, as SQLite allows, and some that read. No async thread ever
//! waits for the disk.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// How many operations may wait for a thread.
const QUEUE: usize = 1024;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// Threads that take work from one queue.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Mutex<Option<SyncSender<Work>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts a thread for each connection. `finish` is called with it when the thread ends.
    pub(super) fn start(
        name: &str,
        connections: Vec<Connection>,
        finish: fn(&Connection),
    ) -> Result<Self, StoreError> {
        let (queue, work) = sync_channel::<Work>(QUEUE);
        let work = Arc::new(Mutex::new(work));
        let start = |mut connection: Connection| -> io::Result<JoinHandle<()>> {
            let work = Arc::clone(&work);
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                while let Some(job) = next(&work) {
                    job(&mut connection);
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
            Err(_) => Err(StoreError::unavailable(format!(
                "no answer within {} ms",
                limit.as_millis()
            ))),
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
            Some(queue) => queue.try_send(work).map_err(|err| match err {
                TrySendError::Full(_) => StoreError::unavailable("too many operations wait for the store"),
                TrySendError::Disconnected(_) => StoreError::unavailable("the store's threads have ended"),
            }),
        }
    }
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
