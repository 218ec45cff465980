//! Floor 1: every task has an owner that can stop it, wait for it, and start it again after a panic.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time before a loop that panicked starts again. It doubles with each panic up to the longest, and falls back once a
/// run was longer than that.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Hands out tasks on one runtime, tells them to stop, and waits for them. Clones share one life.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    draining: AtomicBool,
    /// Panics of requests and of tasks.
    panics: [AtomicU64; 2],
}

/// Where a panic was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanicOf {
    /// The handler of a request. The request got 500.
    Request,
    /// A task. Its caller got 500, or its loop starts again.
    Task,
}

/// The future panicked. The panic hook has logged where and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

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
            panics: [const { AtomicU64::new(0) }; 2],
        }))
    }

    /// Runs a task that ends soon after its stop token is cancelled. A panic is counted, and is the error of the handle.
    pub fn spawn<F, T>(&self, task: impl FnOnce(CancellationToken) -> F) -> JoinHandle<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let (task, life) = (task(self.0.stop.clone()), self.clone());
        let counted = async move {
            AssertUnwindSafe(task)
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| {
                    life.count(PanicOf::Task);
                    resume_unwind(panic)
                })
        };
        self.0.tasks.spawn_on(counted, &self.0.runtime)
    }

    /// Runs `work` on a thread that answers no request. A stop waits for it. A panic is counted, and is the error of the
    /// handle.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let life = self.clone();
        let counted = move || {
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                life.count(PanicOf::Task);
                resume_unwind(panic)
            })
        };
        self.0.tasks.spawn_blocking_on(counted, &self.0.runtime)
    }

    /// Runs a loop that ends soon after its stop token is cancelled. After a panic it starts again.
    pub fn spawn_loop<F>(
        &self,
        name: &'static str,
        run: impl Fn(CancellationToken) -> F + Send + Sync + 'static,
    ) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let life = self.clone();
        let kept = async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let began = Instant::now();
                let stop = life.0.stop.clone();
                let ended = life.catch(PanicOf::Task, async { run(stop).await }).await;
                if ended.is_ok() {
                    return;
                }
                if began.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
                tracing::warn!(
                    task.name = name,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "{name} panicked and starts again"
                );
                let slept = life.0.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                if slept.is_none() {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        self.0.tasks.spawn_on(kept, &self.0.runtime)
    }

    /// Awaits `future`, and counts a panic in it instead of passing it on.
    pub async fn catch<T>(&self, of: PanicOf, future: impl Future<Output = T>) -> Result<T, Panicked> {
        AssertUnwindSafe(future).catch_unwind().await.map_err(|_| {
            self.count(of);
            Panicked
        })
    }

    /// Panics so far.
    #[must_use]
    pub fn panics(&self, of: PanicOf) -> u64 {
        self.0.panics[of as usize].load(Ordering::Relaxed)
    }

    #[cold]
    fn count(&self, of: PanicOf) {
        self.0.panics[of as usize].fetch_add(1, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::{Lifecycle, PanicOf};

    #[tokio::test]
    async fn a_loop_that_panics_starts_again_and_a_stop_ends_it() {
        let life = Lifecycle::new();
        let runs = Arc::new(AtomicU32::new(0));
        let lasting = Arc::new(tokio::sync::Notify::new());
        let (counted, lasts) = (Arc::clone(&runs), Arc::clone(&lasting));

        let running = life.spawn_loop("the loop of a test", move |stop| {
            let run = counted.fetch_add(1, Ordering::Relaxed);
            let lasts = Arc::clone(&lasts);
            async move {
                assert!(run >= 2, "provoked");
                lasts.notify_one();
                stop.cancelled().await;
            }
        });
        lasting.notified().await;

        assert!(life.stop(Duration::from_secs(1)).await);
        running.await.expect("the loop ended by itself");
        assert_eq!(life.panics(PanicOf::Task), 2);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_is_the_error_of_its_handle() {
        let life = Lifecycle::new();

        let ended = life.spawn(|_stop| async { panic!("provoked") }).await;

        assert!(ended.is_err_and(|err: tokio::task::JoinError| err.is_panic()));
        assert_eq!(life.panics(PanicOf::Task), 1);
        assert!(life.stop(Duration::from_secs(1)).await);
    }
}
