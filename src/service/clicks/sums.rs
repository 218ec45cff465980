//! Sums stored clicks by value, when some have come together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{Chore, Store, StoreError};

/// How long stored clicks wait for others. Statistics count them meanwhile. A link that is busy has one sum of a value
/// then, and not one for each batch.
const WAIT: Duration = Duration::from_secs(10);

/// Time between two pieces, for those who want the database too.
const BREATH: Duration = Duration::from_millis(5);

/// Sums clicks of a store.
#[derive(Debug)]
pub(super) struct Sums {
    store: Arc<dyn Store>,
    stored: Notify,
}

impl Sums {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            stored: Notify::new(),
        }
    }

    /// Takes note that clicks were stored.
    pub(super) fn are_due(&self) {
        self.stored.notify_one();
    }

    /// Sums clicks, some time after they were stored, until the stop. What is left then is another instance's, or the
    /// worker's. While none are stored, the database is not asked.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut fails = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.stored.notified() => {}
            }
            if timeout(WAIT, stop.cancelled()).await.is_ok() {
                return;
            }
            match self.sum_all(stop).await {
                Ok(()) => fails = false,
                Err(err) => {
                    // Once for each outage, not once for each try.
                    if !fails {
                        tracing::warn!(error = %err, "clicks wait to be summed by value: {err}");
                    }
                    fails = true;
                    self.are_due();
                }
            }
        }
    }

    async fn sum_all(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() && self.store.keep_house(Chore::SumValues).await? > 0 {
            sleep(BREATH).await;
        }
        Ok(())
    }
}
