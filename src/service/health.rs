//! Whether the service can do its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::join;

use super::shared_check::SharedCheck;
use crate::cache::{Cache, CacheHealth};
use crate::domain::Clock;
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};

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
    /// The service is stopping.
    pub draining: bool,
    /// The store.
    pub database: Check,
    /// The shared cache.
    pub cache: Check,
}

/// Asks the store and the shared cache how they are.
#[derive(Debug)]
pub struct Health {
    store: Arc<dyn Store>,
    shared: Option<Arc<dyn Cache>>,
    lifecycle: Lifecycle,
    clock: Arc<dyn Clock>,
    started: Arc<AtomicBool>,
    start: SharedCheck<bool>,
    checks: SharedCheck<(Check, Check)>,
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
            store,
            shared,
            lifecycle,
            clock,
            started: Arc::default(),
            start: SharedCheck::default(),
            checks: SharedCheck::default(),
        }
    }

    /// Whether the store has answered once with a schema that this build knows; asks it if it has not yet.
    pub async fn has_started(&self) -> Result<bool, StoreError> {
        if self.started.load(Ordering::Relaxed) {
            return Ok(true);
        }
        match ask(self.store.as_ref(), self.clock.as_ref()).await {
            Ok(()) => {
                self.started.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(err @ StoreError::Schema { .. }) => Err(err),
            Err(err) => {
                tracing::debug!(error = %err, "the store has not answered yet: {err}");
                Ok(false)
            }
        }
    }

    /// The same for anybody who asks: one question to the store serves all, and an answer is held for up to a second.
    pub async fn startup(&self) -> bool {
        if self.started.load(Ordering::Relaxed) {
            return true;
        }
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let started = Arc::clone(&self.started);
        let check = || async move {
            let answered = ask(store.as_ref(), clock.as_ref()).await.is_ok();
            started.fetch_or(answered, Ordering::Relaxed);
            answered
        };
        let steady = self.clock.steady();
        let answered = self.start.result(steady, &self.lifecycle, check).await;
        answered.unwrap_or(false)
    }

    /// Whether the service can do its work now. One question to the store and the shared cache serves all who ask, and an
    /// answer is held for up to a second.
    pub async fn readiness(&self) -> Readiness {
        let (store, clock, shared) = (
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.shared.clone(),
        );
        let check = || async move {
            let database = ask(store.as_ref(), clock.as_ref()).map(|asked| match asked {
                Ok(()) => Check::Ok,
                Err(_) => Check::Unavailable,
            });
            join(database, check_cache(shared.as_deref())).await
        };
        let steady = self.clock.steady();
        let checked = self.checks.result(steady, &self.lifecycle, check).await;
        let (database, cache) = checked.unwrap_or((Check::Unavailable, Check::Unavailable));
        Readiness {
            draining: self.lifecycle.is_draining(),
            database,
            cache,
        }
    }
}

async fn check_cache(shared: Option<&dyn Cache>) -> Check {
    match shared {
        None => Check::Disabled,
        Some(shared) => match shared.health().await {
            CacheHealth::Ok => Check::Ok,
            CacheHealth::Unavailable => Check::Unavailable,
        },
    }
}
