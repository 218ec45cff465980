//! Whether the service can do its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

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
    started: AtomicBool,
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
            started: AtomicBool::new(false),
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

    /// Whether the service can do its work now.
    pub async fn readiness(&self) -> Readiness {
        let cache = async {
            match &self.shared {
                None => Check::Disabled,
                Some(shared) => match shared.health().await {
                    CacheHealth::Ok => Check::Ok,
                    CacheHealth::Unavailable => Check::Unavailable,
                },
            }
        };
        let database = async {
            match ask(self.store.as_ref(), self.clock.as_ref()).await {
                Ok(()) => Check::Ok,
                Err(_) => Check::Unavailable,
            }
        };
        let (database, cache) = futures_util::future::join(database, cache).await;
        Readiness {
            draining: self.lifecycle.is_draining(),
            database,
            cache,
        }
    }
}
