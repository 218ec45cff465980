//! Whether the service can do its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::{Cache, CacheHealth};
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
    started: AtomicBool,
}

impl Health {
    /// The health of a service on this store and this shared cache.
    pub fn new(store: Arc<dyn Store>, shared: Option<Arc<dyn Cache>>, lifecycle: Lifecycle) -> Self {
        Self {
            store,
            shared,
            lifecycle,
            started: AtomicBool::new(false),
        }
    }

    /// Whether the store has answered once with a schema that this build knows; asks it if it has not yet.
    pub async fn has_started(&self) -> Result<bool, StoreError> {
        if self.started.load(Ordering::Relaxed) {
            return Ok(true);
        }
        match self.store.check().await {
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
            match self.store.check().await {
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
