//! Whether the service can do its work.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

use super::shared_check::SharedCheck;
use crate::cache::{Cache, CacheHealth};
use crate::domain::Clock;
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};

/// How long a probe waits for the database while the shared cache answers: orchestrators give a probe a second. The attempt
/// to connect goes on.
const PATIENCE: Duration = Duration::from_millis(700);

/// One thing that the service stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It answers.
    Ok,
    /// It does not.
    Unavailable,
    /// It is not used.
    Disabled,
}

/// The state of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// The service has started: see [`Health::startup`].
    pub started: bool,
    /// The service is stopping.
    pub draining: bool,
    /// The store.
    pub database: Check,
    /// The shared cache.
    pub cache: Check,
}

impl Readiness {
    /// Whether the service answers what its caches know, at the least. With the database away that is most redirects, and
    /// other instances can do no more.
    #[must_use]
    pub fn can_serve(&self) -> bool {
        self.started && !self.draining
    }

    /// Whether a part is missing.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.database == Check::Unavailable || self.cache == Check::Unavailable
    }
}

/// Asks the store and the shared cache how they are. One question to them serves all who ask at once.
#[derive(Debug)]
pub struct Health {
    probe: Arc<Probe>,
    lifecycle: Lifecycle,
    checks: SharedCheck<(Check, Check)>,
}

/// What is asked, and what was learnt.
#[derive(Debug)]
struct Probe {
    store: Arc<dyn Store>,
    shared: Option<Arc<dyn Cache>>,
    clock: Arc<dyn Clock>,
    started: AtomicBool,
    database: Outage,
    cache: Outage,
}

/// Asks the store how it is, and puts the clock right by the store's.
pub(super) async fn ask(store: &dyn Store, clock: &dyn Clock) -> Result<(), StoreError> {
    let asked = Instant::now();
    if let Some(time) = store.check().await?
        && let Some(by) = clock.put_right(time, asked.elapsed())
    {
        tracing::warn!(
            put_forward_ms = i64::try_from(by.as_millis()).unwrap_or_default(),
            "this machine's clock and the database's are apart: the database's is followed"
        );
    }
    Ok(())
}

impl Health {
    /// The health of a service on this store and this shared cache. `clock` is put right by the store's.
    pub fn new(
        store: Arc<dyn Store>,
        shared: Option<Arc<dyn Cache>>,
        lifecycle: Lifecycle,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            probe: Arc::new(Probe {
                store,
                shared,
                clock,
                started: AtomicBool::new(false),
                database: Outage::new("the database answers again"),
                cache: Outage::new("the shared cache answers a probe again"),
            }),
            lifecycle,
            checks: SharedCheck::default(),
        }
    }

    /// Whether the store has answered once with a schema that this build knows, or the shared cache has answered while the
    /// store did not: then links that it holds redirect. Asks them if neither has yet.
    pub async fn startup(&self) -> bool {
        if !self.probe.started.load(Ordering::Relaxed) {
            self.checked().await;
        }
        self.probe.started.load(Ordering::Relaxed)
    }

    /// Whether the store has answered with a schema that this build knows. Asks it, and waits as long as the store does.
    pub async fn knows_schema(&self) -> Result<bool, StoreError> {
        let database = self.probe.ask_store().await;
        // Whatever the cache says: an answer of the store is enough.
        self.probe.note_start(database, Check::Disabled)
    }

    /// Whether the service can do its work now. An answer is held for up to a second.
    pub async fn readiness(&self) -> Readiness {
        let (database, cache) = self.checked().await;
        Readiness {
            started: self.probe.started.load(Ordering::Relaxed),
            draining: self.lifecycle.is_draining(),
            database,
            cache,
        }
    }

    async fn checked(&self) -> (Check, Check) {
        let probe = Arc::clone(&self.probe);
        let check = || async move { probe.check().await };
        let steady = self.probe.clock.steady();
        let checked = self.checks.result(steady, &self.lifecycle, check).await;
        checked.unwrap_or((Check::Unavailable, Check::Unavailable))
    }
}

impl Probe {
    async fn check(&self) -> (Check, Check) {
        let (database, cache) = self.ask_both().await;
        let answers = if database.is_ok() {
            Check::Ok
        } else {
            Check::Unavailable
        };
        // An unknown schema is no start, and ends the service elsewhere.
        let _ = self.note_start(database, cache);
        (answers, cache)
    }

    fn note_start(&self, database: Result<(), StoreError>, cache: Check) -> Result<bool, StoreError> {
        let started = match database {
            Ok(()) => true,
            Err(err @ StoreError::Schema { .. }) => return Err(err),
            Err(_) => cache == Check::Ok,
        };
        if started {
            self.started.store(true, Ordering::Relaxed);
        }
        Ok(started)
    }

    /// Asks both at once. Where the cache answers, the store has [`PATIENCE`].
    async fn ask_both(&self) -> (Result<(), StoreError>, Check) {
        let mut database = pin!(self.ask_store());
        let both = futures_util::future::join(timeout(PATIENCE, &mut database), self.ask_cache());
        match both.await {
            (Ok(answer), cache) => (answer, cache),
            (Err(_), Check::Ok) => {
                let cause = format!("no answer within {} ms", PATIENCE.as_millis());
                let err = StoreError::Unavailable(cause.into());
                self.database.began(&err.to_string());
                (Err(err), Check::Ok)
            }
            (Err(_), cache) => (database.await, cache),
        }
    }

    async fn ask_store(&self) -> Result<(), StoreError> {
        let answer = ask(self.store.as_ref(), self.clock.as_ref()).await;
        match &answer {
            Ok(()) => self.database.ended(),
            Err(err) => self.database.began(&err.to_string()),
        }
        answer
    }

    async fn ask_cache(&self) -> Check {
        let Some(shared) = &self.shared else {
            return Check::Disabled;
        };
        match shared.health().await {
            CacheHealth::Ok => {
                self.cache.ended();
                Check::Ok
            }
            CacheHealth::Unavailable(cause) => {
                self.cache
                    .began(&format!("the shared cache is unavailable: {cause}"));
                Check::Unavailable
            }
        }
    }
}

/// Logs why something does not answer: the first time, and again when the cause changes. Probes come every second.
#[derive(Debug)]
struct Outage {
    end: &'static str,
    cause: Mutex<Option<String>>,
}

impl Outage {
    fn new(end: &'static str) -> Self {
        Self {
            end,
            cause: Mutex::default(),
        }
    }

    fn began(&self, cause: &str) {
        let mut last = self.cause.lock();
        if last.as_deref() != Some(cause) {
            *last = Some(cause.to_owned());
            tracing::warn!(error = cause, "{cause}");
        }
    }

    fn ended(&self) {
        if self.cause.lock().take().is_some() {
            tracing::info!("{}", self.end);
        }
    }
}
