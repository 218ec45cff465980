//! What a row runs on: a database and keys of its own, proxies before both servers, and instances of the program.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deadpool_redis::redis;

use super::client::{ADMIN_KEY, Client};
use super::instance::{Instance, command};
use super::ledger::Kind;
use super::load::{COLD, HOT, WARM, slug};
use super::proxy::Proxy;
use super::servers::{Postgres, Redis};

/// How long a row takes and what it asserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As the table says.
    Full,
    /// A few seconds, on a machine that does other things: for the tests.
    Short,
}

impl Scale {
    pub fn is_full(self) -> bool {
        self == Self::Full
    }

    /// One of two values.
    pub fn pick<T>(self, full: T, short: T) -> T {
        if self.is_full() { full } else { short }
    }

    pub fn seconds(self, full: u64, short: u64) -> Duration {
        Duration::from_secs(self.pick(full, short))
    }
}

/// The servers, which all rows use one after another.
pub struct Ground {
    pub program: PathBuf,
    pub scale: Scale,
    pub postgres: Postgres,
    pub redis: Redis,
    beds: AtomicU32,
}

impl Ground {
    pub async fn new(program: PathBuf, scale: Scale) -> Self {
        let (postgres, redis) = tokio::join!(Postgres::start(&[]), Redis::start());
        Self::of(program, scale, postgres, redis)
    }

    pub fn of(program: PathBuf, scale: Scale, postgres: Postgres, redis: Redis) -> Self {
        Self {
            program,
            scale,
            postgres,
            redis,
            beds: AtomicU32::new(0),
        }
    }

    /// Mends what a row may have left broken.
    pub async fn mend(&self) {
        self.postgres.thaw();
        self.redis.thaw();
        if !self.redis.is_running() {
            self.redis.boot().await;
        }
        let mut redis = self.redis.connect().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    }

    /// A bed with so many instances that have started, and the links that the common load asks for.
    pub async fn bed(self: &Arc<Self>, instances: usize) -> Bed {
        self.bed_with(instances, &[]).await
    }

    /// The same, with further settings of the program.
    pub async fn bed_with(self: &Arc<Self>, instances: usize, settings: &[(&str, &str)]) -> Bed {
        let mut bed = self.bare_bed().await;
        bed.more = settings
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        bed.migrate().await;
        bed.sow().await;
        for _ in 0..instances {
            let instance = bed.start_instance().await;
            bed.instances.push(instance);
        }
        bed
    }

    /// An empty database, proxies, and nothing that runs.
    pub async fn bare_bed(self: &Arc<Self>) -> Bed {
        let number = self.beds.fetch_add(1, Ordering::SeqCst);
        let database = format!("bed{number}");
        let create = format!("CREATE DATABASE {database} OWNER curtail");
        self.postgres.sql("postgres", &create).await;
        let postgres = Proxy::before(self.postgres.address()).await;
        let redis = Proxy::before(self.redis.address()).await;
        Bed {
            ground: Arc::clone(self),
            database,
            postgres,
            redis,
            more: Vec::new(),
            instances: Vec::new(),
        }
    }
}

/// What one row runs on.
pub struct Bed {
    pub ground: Arc<Ground>,
    pub database: String,
    pub postgres: Proxy,
    pub redis: Proxy,
    more: Vec<(String, String)>,
    pub instances: Vec<Instance>,
}

impl Bed {
    /// The settings of an instance behind these proxies.
    pub fn settings(&self, postgres: &Proxy, redis: &Proxy) -> Vec<(String, String)> {
        let url = format!(
            "postgres://curtail@{}/{}?sslmode=disable",
            postgres.address(),
            self.database
        );
        let mut settings: Vec<(String, String)> = [
            ("PORT", "0"),
            ("LISTEN_ADDRESS", "127.0.0.1"),
            ("BASE_URL", "https://short.example"),
            ("DATABASE_URL", &url),
            ("REDIS_URL", &format!("redis://{}", redis.address())),
            ("ADMIN_API_KEY", ADMIN_KEY),
            ("CREATE_RATE_PER_MINUTE", "0"),
            ("MISS_RATE_PER_MINUTE", "0"),
            ("LOG_FORMAT", "json"),
        ]
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        settings.retain(|(name, _)| self.more.iter().all(|(other, _)| other != name));
        settings.extend(self.more.iter().cloned());
        settings
    }

    /// Runs `curtail migrate`.
    pub async fn migrate(&self) {
        let mut migrate = command(&self.ground.program, &self.settings(&self.postgres, &self.redis));
        migrate.arg("migrate").stdout(std::process::Stdio::null());
        let status = tokio::task::spawn_blocking(move || migrate.status().unwrap())
            .await
            .unwrap();
        assert!(status.success(), "curtail migrate: {status}");
    }

    async fn sow(&self) {
        for (kind, count) in [(Kind::Hot, HOT), (Kind::Warm, WARM), (Kind::Cold, COLD)] {
            let prefix = slug(kind, 0).trim_end_matches('0').to_owned();
            let insert = format!(
                "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
                 SELECT '{prefix}' || n, next_revision(0), 'https://example.org/{prefix}' || n, '{{}}', 302, false, false, now(), now()
                 FROM generate_series(0, {count} - 1) AS n"
            );
            self.ground.postgres.sql(&self.database, &insert).await;
        }
        self.ground.postgres.sql(&self.database, "ANALYZE links").await;
    }

    /// One more instance behind this bed's proxies, started.
    pub async fn start_instance(&self) -> Instance {
        self.start_instance_behind(&self.postgres, &self.redis).await
    }

    /// One more instance behind proxies of its own.
    pub async fn start_instance_behind(&self, postgres: &Proxy, redis: &Proxy) -> Instance {
        let instance = Instance::start(command(&self.ground.program, &self.settings(postgres, redis))).await;
        instance.started().await;
        instance
    }

    /// A client of each instance.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.instances
            .iter()
            .map(|instance| Arc::clone(&instance.client))
            .collect()
    }

    /// Asks each instance once for every hot and warm link: from now on they were used within the last hour.
    pub async fn warm_up(&self) {
        for client in self.clients() {
            for (kind, count) in [(Kind::Hot, HOT), (Kind::Warm, WARM)] {
                for number in 0..count {
                    let answer = client.get(&format!("/{}", slug(kind, number))).await;
                    assert_eq!(answer.map(|answer| answer.status), Ok(302));
                }
            }
        }
    }

    /// A number that SQL gives, past every proxy.
    pub async fn number(&self, query: &str) -> i64 {
        self.ground.postgres.number(&self.database, query).await
    }

    /// Runs SQL, past every proxy.
    pub async fn sql(&self, statements: &str) {
        self.ground.postgres.sql(&self.database, statements).await;
    }

    /// The value that Redis has for a slug.
    pub async fn cached(&self, slug: &str) -> Vec<u8> {
        self.ground.redis.value(&cache_key(slug)).await
    }
}

/// Where Redis has a slug.
pub fn cache_key(slug: &str) -> String {
    format!("curtail:link:{slug}")
}
