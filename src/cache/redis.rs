//! The cache that all instances share.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use deadpool_redis::redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, Value, cmd,
};
use deadpool_redis::{Manager, Pool, PoolError, Runtime, Timeouts};
use futures_util::future::{BoxFuture, FutureExt, join_all, ready};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::bulletin::{self, Bulletin, Hear};
use super::codec::{self, rank_text};
use super::connection::CONNECT_LIMIT;
use super::reach::Reach;
use super::servers::{Asked, Purpose, Servers};
use super::{CALL_LIMIT, Cache, CacheHealth, Entry, Lookup, Put};
use crate::domain::{Clock, Rank, Slug};
use crate::telemetry::metrics::Metrics;

/// Every value is kept so long at least, served or not: a slow reader of the store that would put back what
/// has changed since must still find it.
const MIN_KEPT: Duration = Duration::from_secs(5);
/// So many bytes of a value are read. No entry has as many: a huge value of another writer does not hold up the
/// connection. The scripts hold the same number.
const MAX_READ: usize = 34 * 1024;
/// The longest that the question for health may take: a new connection, and a PING.
const HEALTH_LIMIT: Duration = Duration::from_millis(200);
/// Connections for the question for health: two askers do not wait for each other.
const HEALTH_CONNECTIONS: usize = 2;

/// Keeps a value unless what is held outranks it.
///
/// `ARGV`: the value, the rank that was seen, the milliseconds to keep it, where its header ends, and a held
/// value that is known to be corrupt. Answers the held value if that stays. What is of another type or
/// format, or of another slug, is replaced.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value, seen, header_end = ARGV[1], ARGV[2], tonumber(ARGV[4])
         local held = redis.pcall('GETRANGE', KEYS[1], 0, 34815)
         if type(held) == 'string' and held ~= ARGV[5]
            and string.sub(held, 1, 2) == string.sub(value, 1, 2)
            and string.sub(held, 23, header_end) == string.sub(value, 23, header_end) then
           local rank = string.sub(held, 3, 22)
           if string.find(rank, '^%d+$') and rank > string.sub(value, 3, 22) and rank > seen then
             return held
           end
         end
         redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
         return false",
    )
});

/// Deletes a value unless it is an entry of this slug whose rank is `ARGV[1]` or higher. `ARGV[2]` is the format of
/// entries, `ARGV[3]` the line that names the slug.
static INVALIDATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.pcall('GETRANGE', KEYS[1], 0, 34815)
         if held == '' then return end
         if type(held) == 'string' and string.sub(held, 1, 2) == ARGV[2]
            and string.sub(held, 23, 22 + string.len(ARGV[3])) == ARGV[3] then
           local rank = string.sub(held, 3, 22)
           if string.find(rank, '^%d+$') and rank >= ARGV[1] then return end
         end
         redis.call('DEL', KEYS[1])",
    )
});

/// Deletes a value that was refused, unless it has been replaced since: `ARGV` is that value, or empty if it
/// was of another type.
static DISCARD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.pcall('GETRANGE', KEYS[1], 0, 34815)
         if type(held) == 'table' or held == ARGV[1] then redis.call('DEL', KEYS[1]) end",
    )
});

/// Entries in Redis. Look-ups and writes share connections, which costs a look-up one round trip; a pool would add a PING
/// to each. The pool here has connections of its own, for [`Cache::health`] only.
pub(super) struct RedisCache {
    servers: Servers,
    /// `None` for a cluster, whose nodes are asked for more than whether they answer.
    pool: Option<Pool>,
    channel: String,
    /// What every key begins with. Without braces in it, a cluster spreads the slugs.
    key_prefix: String,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl RedisCache {
    /// A cache in the Redis that `reach` leads to, with its tasks on `runtime`. Does not wait for Redis.
    pub(super) fn open(
        reach: Reach,
        key_prefix: &str,
        runtime: Handle,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> RedisResult<Self> {
        let pool = match reach.seeds() {
            None => Some(health_pool(&reach)?),
            Some(_) => None,
        };
        Ok(Self {
            servers: Servers::open(reach, Purpose::Links, runtime, Arc::clone(&metrics))?,
            pool,
            channel: format!("{key_prefix}changes"),
            key_prefix: format!("{key_prefix}link:"),
            metrics,
            clock,
        })
    }

    async fn look_up(&self, slug: &Slug, key: &str, mut redis: Asked) -> RedisResult<Option<Entry>> {
        let read = cmd("GETRANGE")
            .arg(key)
            .arg(0)
            .arg(MAX_READ - 1)
            .query_async(&mut redis)
            .await;
        let rejected = match read {
            Ok(Value::BulkString(bytes)) if bytes.is_empty() => return Ok(None),
            Ok(Value::BulkString(bytes)) => match codec::decode(slug, &bytes) {
                Ok(entry) => return Ok(Some(entry)),
                Err(_) => bytes,
            },
            Ok(_) => Vec::new(),
            Err(err) if err.code() == Some("WRONGTYPE") => Vec::new(),
            Err(err) => return Err(err),
        };
        self.metrics.shared_cache.rejected.add_one();
        DISCARD
            .key(key)
            .arg(rejected)
            .invoke_async::<()>(&mut redis)
            .await?;
        Ok(None)
    }

    async fn keep(&self, write: &Write<'_>, mut redis: Asked) -> RedisResult<Put> {
        let held = match write.first(&mut redis).await {
            Ok(None) => return Ok(Put::Kept),
            Ok(Some(held)) => held,
            // It answers, if only to say that its memory is full or that it may not be written to. That is no
            // reason to stop reading.
            Err(err) if is_answer(&err) => {
                self.metrics.shared_cache.failed.add_one();
                return Ok(Put::Lost);
            }
            Err(err) => return Err(err),
        };
        if let Ok(newer) = codec::decode(write.slug, &held) {
            return Ok(Put::Outranked(newer));
        }
        // Its header is right and its body is not.
        self.metrics.shared_cache.rejected.add_one();
        let held = write.unless_outranked(&held, &mut redis).await?;
        Ok(held.map_or(Put::Kept, |held| {
            codec::decode(write.slug, &held).map_or(Put::Lost, Put::Outranked)
        }))
    }

    /// Keeps those of many entries that Redis holds nothing of; `false` for the others, and for all if Redis does not say.
    async fn keep_new(&self, writes: &[Write<'_>], mut redis: Asked) -> RedisResult<Vec<bool>> {
        let mut pipeline = Pipeline::with_capacity(writes.len());
        for write in writes {
            pipeline.add_command(write.set_new());
        }
        match pipeline.query_async::<Vec<Option<String>>>(&mut redis).await {
            Ok(sets) => Ok(sets.iter().map(Option::is_some).collect()),
            Err(err) if is_answer(&err) => Ok(vec![false; writes.len()]),
            Err(err) => Err(err),
        }
    }

    fn write<'a>(&self, slug: &'a Slug, key: String, entry: &Entry, seen: Rank) -> Write<'a> {
        Write {
            slug,
            key,
            value: codec::encode(slug, entry),
            seen,
            millis: kept_millis(entry.stale_until, self.clock.now()),
        }
    }

    fn key(&self, slug: &Slug) -> String {
        [&self.key_prefix, slug.as_str()].concat()
    }

    /// Fails with the cause.
    async fn answers(&self) -> Result<(), String> {
        if let Some(cluster) = self.servers.cluster() {
            let incomplete = || "not every slot of the cluster is served".to_owned();
            return cluster.is_whole().await.then_some(()).ok_or_else(incomplete);
        }
        let Some(pool) = &self.pool else {
            return Err("there is no connection".to_owned());
        };
        let mut connection = pool.get().await.map_err(|err| match err {
            PoolError::Backend(err) => err.to_string(),
            err => err.to_string(),
        })?;
        let ping = cmd("PING");
        ping.exec_async(&mut connection)
            .await
            .map_err(|err| err.to_string())
    }
}

/// An entry on its way to Redis.
struct Write<'a> {
    slug: &'a Slug,
    key: String,
    value: Vec<u8>,
    /// What was held when the caller began to read the store.
    seen: Rank,
    /// How long it is kept, in milliseconds.
    millis: u64,
}

impl Write<'_> {
    /// Nothing is held of a new link, nor of one that a look-up did not find here. Then a plain `SET` does, for which
    /// Redis runs no script. A change pays one command more for it.
    async fn first(&self, redis: &mut Asked) -> RedisResult<Option<Vec<u8>>> {
        if self.seen == Rank::UNSEEN {
            let set: Option<String> = self.set_new().query_async(redis).await?;
            if set.is_some() {
                return Ok(None);
            }
        }
        self.unless_outranked(&[], redis).await
    }

    fn set_new(&self) -> Cmd {
        let mut set = cmd("SET");
        set.arg(&self.key)
            .arg(&self.value)
            .arg("PX")
            .arg(self.millis)
            .arg("NX");
        set
    }

    /// Answers what is held if that stays. `corrupt` is a held value that does not.
    async fn unless_outranked(&self, corrupt: &[u8], redis: &mut Asked) -> RedisResult<Option<Vec<u8>>> {
        KEEP.key(&self.key)
            .arg(&self.value)
            .arg(rank_text(self.seen))
            .arg(self.millis)
            .arg(codec::header_len(self.slug))
            .arg(corrupt)
            .invoke_async(redis)
            .await
    }
}

fn health_pool(reach: &Reach) -> RedisResult<Pool> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(CALL_LIMIT));
    let manager = Manager::new_with_config(reach.client().get_connection_info().clone(), settings)?;
    Ok(Pool::builder(manager)
        .max_size(HEALTH_CONNECTIONS)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(CALL_LIMIT),
            create: Some(CONNECT_LIMIT),
            recycle: Some(CALL_LIMIT),
        })
        .build()
        .expect("the pool has timeouts and a runtime for them"))
}

impl Cache for RedisCache {
    fn get<'a>(&'a self, slug: &'a Slug) -> Lookup<'a> {
        let key = self.key(slug);
        match self.servers.admit(&key) {
            None => Lookup::Ready(None),
            Some(leave) => Lookup::Pending(
                async move {
                    self.servers
                        .call(leave, |redis| self.look_up(slug, &key, redis))
                        .await
                        .flatten()
                }
                .boxed(),
            ),
        }
    }

    fn put<'a>(&'a self, slug: &'a Slug, entry: &'a Entry, seen: Rank) -> BoxFuture<'a, Put> {
        let key = self.key(slug);
        match self.servers.admit(&key) {
            None => ready(Put::Lost).boxed(),
            Some(leave) => async move {
                let write = self.write(slug, key, entry, seen);
                let kept = self.servers.call(leave, |redis| self.keep(&write, redis)).await;
                kept.unwrap_or(Put::Lost)
            }
            .boxed(),
        }
    }

    fn put_many<'a>(&'a self, entries: &'a [(Slug, Entry)]) -> BoxFuture<'a, Vec<Put>> {
        let put = |(slug, entry): &'a (Slug, Entry)| self.put(slug, entry, Rank::UNSEEN);
        // The nodes of a cluster hold one slot here, another there.
        if self.servers.cluster().is_some() {
            return join_all(entries.iter().map(put)).boxed();
        }
        async move {
            let Some(leave) = self.servers.admit_any() else {
                return vec![Put::Lost; entries.len()];
            };
            let writes: Vec<_> = entries
                .iter()
                .map(|(slug, entry)| self.write(slug, self.key(slug), entry, Rank::UNSEEN))
                .collect();
            let kept = self
                .servers
                .call(leave, |redis| self.keep_new(&writes, redis))
                .await;
            let Some(kept) = kept else {
                return vec![Put::Lost; entries.len()];
            };
            let puts = entries
                .iter()
                .zip(kept)
                .map(async |(entry, kept)| if kept { Put::Kept } else { put(entry).await });
            join_all(puts).await
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, CacheHealth> {
        async move {
            match timeout(HEALTH_LIMIT, self.servers.within_runtime(self.answers())).await {
                Ok(Ok(())) => CacheHealth::Ok,
                Ok(Err(cause)) => CacheHealth::Unavailable(cause),
                Err(_) => {
                    CacheHealth::Unavailable(format!("no answer within {} ms", HEALTH_LIMIT.as_millis()))
                }
            }
        }
        .boxed()
    }

    fn invalidate<'a>(&'a self, slug: &'a Slug, version: Rank) -> BoxFuture<'a, bool> {
        let key = self.key(slug);
        match self.servers.admit(&key) {
            None => ready(false).boxed(),
            Some(leave) => async move {
                let call = async |mut redis: Asked| {
                    INVALIDATE
                        .key(&key)
                        .arg(rank_text(version))
                        .arg(codec::FORMAT)
                        .arg(codec::slug_line(slug))
                        .invoke_async::<()>(&mut redis)
                        .await
                };
                self.servers.call(leave, call).await.is_some()
            }
            .boxed(),
        }
    }

    fn bulletin(&self) -> Option<&dyn Bulletin> {
        Some(self)
    }
}

impl Bulletin for RedisCache {
    fn tell<'a>(&'a self, slug: &'a Slug, entry: &'a Entry) -> BoxFuture<'a, bool> {
        match self.servers.admit_any() {
            None => ready(false).boxed(),
            Some(leave) => async move {
                let call = |mut redis: Asked| async move {
                    cmd("PUBLISH")
                        .arg(&self.channel)
                        .arg(codec::encode(slug, entry))
                        .exec_async(&mut redis)
                        .await
                };
                self.servers.call(leave, call).await.is_some()
            }
            .boxed(),
        }
    }

    fn listen<'a>(&'a self, hear: Hear<'a>) -> BoxFuture<'a, ()> {
        bulletin::listen(&self.servers, &self.channel, hear).boxed()
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool: it knows the password.
        f.debug_struct("RedisCache")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

fn kept_millis(until: Timestamp, now: Timestamp) -> u64 {
    let left = Duration::try_from(until.duration_since(now))
        .unwrap_or_default()
        .max(MIN_KEPT);
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

/// Whether Redis itself answered with this error.
fn is_answer(err: &RedisError) -> bool {
    matches!(err.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}
