//! Budgets that all instances share: so many requests a minute, by the generic cell rate algorithm.

use std::fmt;
use std::sync::{Arc, LazyLock};

use deadpool_redis::redis::{RedisResult, Script};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Handle;

use super::reach::Reach;
use super::servers::{Asked, Purpose, Servers};
use crate::domain::{Rate, Taken};
use crate::telemetry::metrics::Metrics;

/// Takes from budgets.
pub trait Budgets: fmt::Debug + Send + Sync {
    /// Takes one request from the budget called `name`, or is told to wait; `None` if the budgets cannot be asked.
    fn take<'a>(&'a self, name: &'a str, rate: Rate) -> BoxFuture<'a, Option<Taken>>;
}

/// Keeps the time at which the whole budget is there again, in microseconds of Redis' own clock: those of the
/// instances may differ. `ARGV`: the microseconds of one request, and those of the whole budget. Answers whether one
/// was taken, the microseconds to wait for the next, and those until all are there.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now = time[1] * 1000000 + time[2]
         local one, all = tonumber(ARGV[1]), tonumber(ARGV[2])
         local full = tonumber(redis.call('GET', KEYS[1]) or now) or now
         if full < now or full > now + all then full = math.min(math.max(full, now), now + all) end
         local after = full + one
         if after - now > all then
           return {0, string.format('%.0f', after - now - all), string.format('%.0f', full - now)}
         end
         redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
         return {1, '0', string.format('%.0f', after - now)}",
    )
});

/// Budgets in Redis.
pub(super) struct RedisBudgets {
    servers: Servers,
    key_prefix: String,
}

impl RedisBudgets {
    /// Budgets in the Redis that `reach` leads to, with their tasks on `runtime`. Does not wait for Redis.
    pub(super) fn open(
        reach: Reach,
        key_prefix: &str,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> RedisResult<Self> {
        Ok(Self {
            servers: Servers::open(reach, Purpose::Budgets, runtime, metrics)?,
            key_prefix: format!("{key_prefix}rate:"),
        })
    }
}

impl Budgets for RedisBudgets {
    fn take<'a>(&'a self, name: &'a str, rate: Rate) -> BoxFuture<'a, Option<Taken>> {
        async move {
            let key = [&self.key_prefix, name].concat();
            let leave = self.servers.admit(&key)?;
            let call = |mut redis: Asked| async move {
                TAKE.key(key)
                    .arg(rate.one_micros())
                    .arg(rate.all_micros())
                    .invoke_async::<(i64, i64, i64)>(&mut redis)
                    .await
            };
            let (granted, wait, until_full) = self.servers.call(leave, call).await?;
            Some(Taken::of(rate, granted == 1, wait, until_full))
        }
        .boxed()
    }
}

impl fmt::Debug for RedisBudgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBudgets")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}
