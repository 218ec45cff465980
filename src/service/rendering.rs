//! Work for strangers that takes the CPU for milliseconds: pictures, and documents that are rendered once. It runs on threads
//! that answer no redirect.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Error;
use crate::lifecycle::Lifecycle;

/// How many run at once.
const RUNNING: usize = 2;

/// How many more may wait for their turn. Each takes a few milliseconds.
const WAITING: usize = 32;

/// Runs such work, a bounded number at a time. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Rendering {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    lifecycle: Lifecycle,
}

impl Rendering {
    /// Runs work on the blocking threads of `lifecycle`.
    #[must_use]
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING)),
            admitted: Arc::new(Semaphore::new(RUNNING + WAITING)),
            lifecycle,
        }
    }

    /// Runs `work` when it is its turn. [`Error::Overloaded`] at once if too many wait already. Work that has begun counts
    /// until its end, also when the request that wanted it is gone.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let permits = (admitted, running.map_err(|_| Error::Overloaded)?);
        let done = self.lifecycle.spawn_blocking(move || {
            let result = work();
            drop(permits);
            result
        });
        Ok(done.await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use futures_util::FutureExt;
    use parking_lot::Mutex;

    use super::{RUNNING, Rendering, WAITING};
    use crate::lifecycle::Lifecycle;
    use crate::service::Error;

    #[tokio::test]
    async fn what_comes_beyond_the_bound_is_refused_and_a_request_that_leaves_ends_no_work() {
        let rendering = Rendering::new(Lifecycle::new());
        let (go, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let blocked = || {
            let (rendering, gate) = (rendering.clone(), Arc::clone(&gate));
            // Ends when the sender does.
            async move { rendering.run(move || gate.lock().recv().is_ok()).await }
        };
        let mut all: Vec<_> = (0..RUNNING + WAITING).map(|_| Box::pin(blocked())).collect();
        for work in &mut all {
            assert!(work.as_mut().now_or_never().is_none());
        }

        let beyond = rendering.run(|| ()).await;
        assert!(matches!(beyond, Err(Error::Overloaded)), "{beyond:?}");

        // Those that wait leave; those that run go on.
        all.clear();
        assert_eq!(rendering.running.available_permits(), 0);
        drop(go);
        assert_eq!(rendering.run(|| 7).await.ok(), Some(7));
    }

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_in_it_makes_room() {
        let rendering = Rendering::new(Lifecycle::new());

        let here = std::thread::current().id();
        let there = rendering.run(|| std::thread::current().id()).await;
        assert!(there.is_ok_and(|there| there != here));
        for _ in 0..2 * (RUNNING + WAITING) {
            let done = rendering.run(|| -> u8 { panic!("provoked") }).await;
            assert!(matches!(done, Err(Error::Panicked)), "{done:?}");
        }
    }
}
