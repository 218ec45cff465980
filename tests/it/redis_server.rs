//! Redis for tests: the shared one, and servers that a test may harm.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use curtail::cache::{self, Cache, CacheHealth, Entry, Known, Lookup, Put};
use curtail::config::{self, Env};
use curtail::domain::{
    Clock, ManualClock, Period, Rank, Redirect, RedirectStatus, Revision, Slug, TargetUrl,
};
use curtail::telemetry::metrics::Metrics;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, cmd};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A variable that says where a test finds what it needs. Without it the test fails: it never skips.
pub fn needed(name: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "it configures the tests, not the program"
    )]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: see scripts/with-servers"))
}

/// Settings of the caches as the program reads them.
pub fn settings(pairs: &[(&str, &str)]) -> config::Cache {
    let mut env = Env::from_pairs(pairs.iter().copied());
    let settings = config::Config::read(&mut env).cache;
    env.finish().unwrap();
    settings
}

/// A shared cache, and what it counts.
pub struct Opened {
    pub cache: Arc<dyn Cache>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<ManualClock>,
}

pub fn open(pairs: &[(&str, &str)]) -> Opened {
    let metrics = Arc::new(Metrics::default());
    let clock = Arc::new(ManualClock::default());
    let cache = cache::shared(&settings(pairs), Arc::clone(&metrics), clock.clone())
        .unwrap()
        .unwrap();
    Opened {
        cache,
        metrics,
        clock,
    }
}

impl Opened {
    /// A cache in the Redis that all tests share.
    pub fn on_shared_server() -> Self {
        open(&[("REDIS_URL", &needed("TEST_REDIS_URL"))])
    }

    /// Looks the slug up, and says how long that took.
    pub async fn timed_get(&self, slug: &Slug) -> (Option<Entry>, Duration) {
        let start = Instant::now();
        (get(&*self.cache, slug).await, start.elapsed())
    }

    /// Waits until the cache answers with what it holds, which is to take a second at most.
    pub async fn recovers(&self, slug: &Slug) -> Duration {
        let start = Instant::now();
        while get(&*self.cache, slug).await.is_none() {
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "the cache does not recover"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        start.elapsed()
    }
}

pub async fn get(cache: &dyn Cache, slug: &Slug) -> Option<Entry> {
    match cache.get(slug) {
        Lookup::Ready(entry) => entry,
        Lookup::Pending(entry) => entry.await,
    }
}

/// Keeps an entry and expects that it stands.
pub async fn keep(cache: &dyn Cache, slug: &Slug, entry: &Entry) {
    assert_eq!(cache.put(slug, entry, Rank::UNSEEN).await, Put::Kept);
}

pub async fn is_healthy(cache: &dyn Cache) -> bool {
    cache.health().await == CacheHealth::Ok
}

/// A slug that no other test uses.
pub fn any_slug() -> Slug {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(16)
        .collect::<String>()
        .parse()
        .unwrap()
}

/// The key of a slug in Redis.
pub fn key(slug: &Slug) -> String {
    format!("curtail:link:{slug}")
}

pub fn link(slug: &Slug, revision: i64) -> Entry {
    link_at(slug, revision, &format!("https://example.org/{slug}/{revision}"))
}

/// A link that redirects to `destination`.
pub fn link_to(slug: &Slug, destination: &str) -> Entry {
    link_at(slug, 1, destination)
}

fn link_at(slug: &Slug, revision: i64, destination: &str) -> Entry {
    let redirect = Redirect {
        slug: slug.clone(),
        revision: Revision::new(revision),
        target: TargetUrl::from_stored(destination).unwrap(),
        status: RedirectStatus::Found,
        cache_seconds: None,
        forward_query: false,
        period: Period::default(),
        limited: false,
        disabled: false,
    };
    entry(Known::Link(Arc::new(redirect)))
}

pub fn absent(rank: Rank) -> Entry {
    entry(Known::Absent(rank))
}

fn entry(known: Known) -> Entry {
    let now = ManualClock::default().now();
    Entry {
        known,
        read_at: now,
        fresh_until: now + Duration::from_secs(300),
        stale_until: now + Duration::from_secs(3600),
    }
}

/// A server of one test's own, on a free port and a socket in a folder that goes with it.
pub struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    runs: bool,
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = spawn(&folder, port, &arguments);
        let mut server = Self {
            child,
            folder,
            port,
            arguments,
            runs: true,
        };
        server.answers().await;
        server
    }

    /// Starts it again on the same port, empty.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port, &self.arguments);
        self.runs = true;
        self.answers().await;
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.runs = false;
    }

    /// Whether it was not killed.
    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Sends a signal to this one process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// A connection past the cache, over the socket.
    pub async fn admin(&self) -> MultiplexedConnection {
        connect(&format!("redis+unix://{}", self.socket().display())).await
    }

    async fn answers(&mut self) {
        let start = Instant::now();
        loop {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "redis-server ended: {:?}",
                self.arguments
            );
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "redis-server does not answer"
            );
            // A refused log-in is an answer.
            let client = Client::open(format!("redis+unix://{}", self.socket().display())).unwrap();
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
                match cmd("PING").exec_async(&mut connection).await {
                    Err(err) if err.is_io_error() => {}
                    _ => return,
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection past the cache.
pub async fn connect(url: &str) -> MultiplexedConnection {
    Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

/// A port that nobody listens to. None is given twice, and none that the system may give to a connection meanwhile.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(10_000..30_000)));
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_000, "there are no more free ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(folder: &TempDir, port: u16, arguments: &[String]) -> Child {
    Command::new(needed("TEST_REDIS_SERVER"))
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            "redis.sock",
        ])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
