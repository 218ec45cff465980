//! Opens connections for every pool of the store: few at a time, and with pauses while that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};
use tokio_postgres::Config;

use super::connect::{Connected, Connector};
use super::failure::causes;

/// How long connecting may take, with encryption and authentication: eight round trips, and the server's own time when
/// every client of it connects at once. Whoever waits for the connection has a limit of its own.
const LIMIT: Duration = Duration::from_secs(5);
/// How many connections one instance opens at one time: after a failover, all instances come at once.
const AT_ONCE: usize = 2;
/// The pause after the first failure, and the longest one. Each is cut by up to half, so that instances do not keep step.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The attempts of one store.
#[derive(Debug)]
pub(super) struct Dialer {
    slots: Semaphore,
    /// While connecting fails, one attempt at a time.
    probe: tokio::sync::Mutex<()>,
    backoff: Mutex<Backoff>,
    /// Notified of each failure.
    failed: Notify,
}

#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    until: Option<Instant>,
    reason: Option<Arc<str>>,
}

impl Dialer {
    pub(super) fn new() -> Self {
        Self {
            slots: Semaphore::new(AT_ONCE),
            probe: tokio::sync::Mutex::default(),
            backoff: Mutex::default(),
            failed: Notify::new(),
        }
    }

    /// Waits for the next attempt that fails, whoever made it.
    pub(super) fn failing(&self) -> Notified<'_> {
        self.failed.notified()
    }

    /// Opens a connection, when its turn comes.
    pub(super) async fn dial(&self, connector: &Connector, config: &Config) -> Result<Connected, Arc<str>> {
        let _slot = self.slots.acquire().await;
        let _probe = match self.pause() {
            Some(_) => Some(self.probe.lock().await),
            None => None,
        };
        // Asked again: the attempt before may have succeeded.
        if let Some((pause, _)) = self.pause() {
            tokio::time::sleep(pause).await;
        }
        let result = match tokio::time::timeout(LIMIT, connector.open(config)).await {
            Ok(result) => result.map_err(|err| causes(&err)),
            Err(_) => Err("connecting took too long".to_owned()),
        };
        result
            .inspect(|_| self.succeeded())
            .map_err(|reason| self.failed(&reason))
    }

    /// How long no attempt is made, and why; `None` if the last one succeeded.
    pub(super) fn pause(&self) -> Option<(Duration, Arc<str>)> {
        let backoff = self.backoff.lock();
        let left = backoff.until?.saturating_duration_since(Instant::now());
        Some((left, backoff.reason.clone()?))
    }

    fn succeeded(&self) {
        *self.backoff.lock() = Backoff::default();
    }

    fn failed(&self, reason: &str) -> Arc<str> {
        let mut backoff = self.backoff.lock();
        let pause = FIRST_PAUSE
            .saturating_mul(1 << backoff.failures.min(16))
            .min(LONGEST_PAUSE)
            .mul_f64(0.5 + fastrand::f64() / 2.0);
        let reason: Arc<str> = reason.into();
        backoff.failures = backoff.failures.saturating_add(1);
        backoff.until = Some(Instant::now() + pause);
        backoff.reason = Some(Arc::clone(&reason));
        drop(backoff);
        self.failed.notify_waiters();
        reason
    }
}
