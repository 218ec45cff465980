//! Picks the caches that the settings ask for.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::budget::RedisBudgets;
use super::reach::Reach;
use super::redis::RedisCache;
use super::{Budgets, Cache, MemoryCache};
use crate::config;
use crate::domain::Clock;
use crate::telemetry::metrics::Metrics;

/// What is wrong with the settings of the caches, by the variable's name. Connects to nothing.
#[must_use]
pub fn faults(config: &config::Cache) -> Vec<String> {
    config
        .redis
        .as_ref()
        .and_then(|redis| Reach::of(redis).err())
        .into_iter()
        .collect()
}

/// The in-process cache, unless it is turned off.
#[must_use]
pub fn memory(config: &config::Cache) -> Option<Arc<dyn Cache>> {
    (config.memory_bytes > 0).then(|| Arc::new(MemoryCache::new(config.memory_bytes)) as _)
}

/// The shared cache, if there is one. Does not wait for it: a Redis that is down is no reason not to start.
///
/// Its connections live on the runtime that this is called on, so that is to be the one that ends last.
pub fn shared(
    config: &config::Cache,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Cache>>, String> {
    let Some(redis) = &config.redis else {
        return Ok(None);
    };
    let runtime = Handle::try_current().map_err(|err| format!("the shared cache cannot be opened: {err}"))?;
    let cache = RedisCache::open(Reach::of(redis)?, &redis.key_prefix, runtime, metrics, clock)
        .map_err(|_| "REDIS_URL cannot be used by the Redis client".to_owned())?;
    Ok(Some(Arc::new(cache)))
}

/// Budgets in the shared cache, if there is one. They have a connection and a breaker of their own.
pub fn budgets(config: &config::Cache, metrics: Arc<Metrics>) -> Result<Option<Arc<dyn Budgets>>, String> {
    let Some(redis) = &config.redis else {
        return Ok(None);
    };
    let runtime = Handle::try_current().map_err(|err| format!("the shared cache cannot be opened: {err}"))?;
    let budgets = RedisBudgets::open(Reach::of(redis)?, &redis.key_prefix, runtime, metrics)
        .map_err(|_| "REDIS_URL cannot be used by the Redis client".to_owned())?;
    Ok(Some(Arc::new(budgets)))
}
