//! Floor 1: every task has an owner that can stop it and wait for it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Hands out tasks on one runtime, tells them to stop, and waits for them. Clones share one life.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    draining: AtomicBool,
}

impl Lifecycle {
    /// A life on the runtime that this is called in. Tasks run there even when they are spawned from a
    /// thread with a runtime of its own, such as a worker of the HTTP server: that one ends earlier.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            draining: AtomicBool::new(false),
        }))
    }

    /// Runs a task that ends soon after its stop token is cancelled.
    pub fn spawn<F, T>(&self, task: impl FnOnce(CancellationToken) -> F) -> JoinHandle<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.0.tasks.spawn_on(task(self.0.stop.clone()), &self.0.runtime)
    }

    /// Announces the end: readiness turns to 503 and connections are closed after their answer.
    pub fn begin_drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the end was announced.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Tells every task to stop and waits for them; `false` if some were still running after `grace`.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.begin_drain();
        self.0.stop.cancel();
        self.0.tasks.close();
        tokio::time::timeout(grace, self.0.tasks.wait()).await.is_ok()
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}
