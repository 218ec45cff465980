//! A check that is made once for all who ask for it: anybody may ask, as often as they like.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::lifecycle::Lifecycle;

/// How long a result is held.
const HELD: SignedDuration = SignedDuration::from_secs(1);

/// A check of which one at most is under way, and whose result is held until a second after the check began.
pub(super) struct SharedCheck<T>(Mutex<Option<Latest<T>>>);

struct Latest<T> {
    /// By [`Clock::steady`](crate::domain::Clock::steady).
    began: Timestamp,
    /// `None` while the check is under way. The sender is gone without a result if the check panicked.
    result: watch::Receiver<Option<T>>,
}

impl<T> Default for SharedCheck<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> fmt::Debug for SharedCheck<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedCheck")
    }
}

impl<T: Clone + Send + Sync + 'static> SharedCheck<T> {
    /// The result of the check that is under way, or of one that began within the last second; else of the one that `start`
    /// begins at `steady`. A check is a task of `lifecycle`: it ends even if all who wait leave. `None` if it panicked.
    pub(super) async fn result<F>(
        &self,
        steady: Timestamp,
        lifecycle: &Lifecycle,
        start: impl FnOnce() -> F,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut result = {
            let mut latest = self.0.lock();
            match latest.as_ref().filter(|latest| latest.serves(steady)) {
                Some(latest) => latest.result.clone(),
                None => {
                    let (sender, result) = watch::channel(None);
                    let check = start();
                    drop(lifecycle.spawn(|_stop| async move {
                        sender.send_replace(Some(check.await));
                    }));
                    *latest = Some(Latest {
                        began: steady,
                        result: result.clone(),
                    });
                    result
                }
            }
        };
        let found = result.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}

impl<T> Latest<T> {
    fn serves(&self, steady: Timestamp) -> bool {
        if self.result.borrow().is_some() {
            steady.duration_since(self.began) < HELD
        } else {
            self.result.has_changed().is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::SharedCheck;
    use crate::domain::{Clock, ManualClock};
    use crate::lifecycle::Lifecycle;

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_check_and_its_result_is_held_for_a_second() {
        let (life, clock, shared) = (Lifecycle::new(), ManualClock::default(), SharedCheck::default());
        let (made, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (made, gate) = (Arc::clone(&made), Arc::clone(&gate));
            shared.result(clock.steady(), &life, move || async move {
                let number = made.fetch_add(1, Ordering::Relaxed);
                gate.notified().await;
                number
            })
        };

        // The first one leaves before there is a result.
        assert_eq!(ask().now_or_never(), None);
        gate.notify_one();
        assert_eq!(join_all((0..100).map(|_| ask())).await, vec![Some(0); 100]);
        clock.advance(Duration::from_millis(999));
        assert_eq!(ask().await, Some(0));
        clock.advance(Duration::from_millis(1));
        gate.notify_one();
        assert_eq!(ask().await, Some(1));
    }

    #[tokio::test]
    async fn a_check_that_panicked_is_made_again() {
        let (life, clock, shared) = (Lifecycle::new(), ManualClock::default(), SharedCheck::default());
        let failing = || async {
            assert!(std::hint::black_box(false), "provoked");
            0_u8
        };

        assert_eq!(shared.result(clock.steady(), &life, failing).await, None);
        assert_eq!(
            shared.result(clock.steady(), &life, || async { 7 }).await,
            Some(7)
        );
    }
}
