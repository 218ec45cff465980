//! Every figure that is counted: its name, its type, what it tells, and where it is kept.
//!
//! `docs/OBSERVABILITY.md` has the same list for people; a test compares the two.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

pub use super::figures::{Answers, Counter, Histogram, Named, Running, Sharded, Statements};

/// How a figure behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Figures of one name.
#[derive(Debug)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// How they behave.
    pub kind: Kind,
    /// What tells them apart. No value of a label comes from a request.
    pub labels: &'static [&'static str],
    /// What they tell.
    pub help: &'static str,
}

/// Declares the families, and the list of them all in the order of this file.
macro_rules! families {
    ($($constant:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $constant: Family = Family {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+
        /// Every family, in the order in which they are shown.
        pub const FAMILIES: &[&Family] = &[$(&$constant),+];
    };
}

families! {
    BUILD_INFO Gauge "curtail_build_info" ["version", "git_commit", "store", "cache"] "1, with what runs here.";
    REQUESTS Counter "curtail_http_requests_total" ["route", "method", "class"] "Requests answered, by route, method and class of the status.";
    REDIRECT_DURATION Histogram "curtail_redirect_duration_seconds" [] "Time to answer a request of the route /{slug}, whatever the answer.";
    RESOLVE Counter "curtail_resolve_total" ["result"] "Look-ups of slugs, by who answered: memory, redis, store, absent (the store, which has no such link), stale (a cache, past its freshness, because the store was down), failed (nobody).";
    CACHE_ERRORS Counter "curtail_redis_errors_total" [] "Calls to Redis that failed or took too long.";
    CACHE_REFUSED Counter "curtail_redis_refused_total" [] "Calls to Redis that were not made because a breaker was open.";
    CACHE_REJECTED Counter "curtail_redis_rejected_values_total" [] "Values in Redis that did not fit their key, format or schema, and were not used.";
    BREAKER_OPENED Counter "curtail_redis_breaker_opened_total" [] "Times that a breaker opened.";
    BREAKER_OPEN Gauge "curtail_redis_breaker_open" ["connection"] "1 while calls to Redis are not made, or not to one of a cluster's nodes, by what the connection is for: links or budgets.";
    REDIS_NODES Gauge "curtail_redis_nodes" ["connection"] "Redis servers that hold keys: 1, or the primaries of a cluster.";
    CHANGES_AGE Gauge "curtail_changes_age_seconds" [] "Seconds since the last successful read of the changes of links began. Above 5, caches trust what they hold for 5 s only.";
    CHANGES_FAILED Counter "curtail_changes_failed_total" [] "Reads of the changes of links that failed.";
    CHANGES_APPLIED Counter "curtail_changes_applied_total" [] "Changes of links that were read before another instance's message was received.";
    CHANGES_REFUSED Counter "curtail_changes_refused_values_total" [] "Values in Redis that were not used because a change had outdated them.";
    POOL_MAX Gauge "curtail_pool_connections_max" ["pool"] "The most connections to the database, by the class that they belong to first: read, write or click.";
    POOL_OPEN Gauge "curtail_pool_connections_open" ["pool"] "Connections to the database, likewise.";
    POOL_IN_USE Gauge "curtail_pool_connections_in_use" ["pool"] "Connections to the database that are at work, by class: read, search, write, limited_click, click or maintenance.";
    POOL_WAITING Gauge "curtail_pool_waiting" ["pool"] "Operations that wait for a connection to the database, by class.";
    POOL_TIMEOUTS Counter "curtail_pool_timeouts_total" ["pool"] "Operations that got no connection in time, by class.";
    STATEMENTS_CANCELLED Counter "curtail_statements_cancelled_total" ["outcome"] "Statements that were given up and that the database was asked to end: ended, or unknown after 2 seconds.";
    STATEMENT_DURATION Histogram "curtail_statement_duration_seconds" ["statement"] "Time of a statement of the database, without the wait for a connection.";
    STATEMENT_ERRORS Counter "curtail_statement_errors_total" ["statement"] "Statements of the database that failed or were given up.";
    CLICKS_TAKEN Counter "curtail_clicks_taken_total" [] "Clicks that redirects handed over.";
    CLICKS_STORED Counter "curtail_clicks_stored_total" [] "Clicks that the database acknowledged.";
    CLICKS_DROPPED Counter "curtail_clicks_dropped_total" [] "Clicks lost: the buffer was full, or the stop came while the database was down.";
    CLICKS_REFUSED Counter "curtail_clicks_refused_total" [] "Clicks lost because the database refused their values. The log names the link.";
    CLICKS_FOLDED Counter "curtail_clicks_folded_total" ["given_up"] "Clicks sent to the database, by what was given up of them because the buffer filled: none, second (the minute is kept), minute (the hour is kept), visitor or values.";
    CLICK_BATCHES_FAILED Counter "curtail_click_batches_failed_total" [] "Times that the database did not take a batch of clicks. It is sent again.";
    CLICKS_WAITING Gauge "curtail_click_buffer_clicks" [] "Different clicks in the buffer.";
    CLICKS_BOUND Gauge "curtail_click_buffer_max_clicks" [] "Different clicks that the buffer holds at most (CLICK_BUFFER).";
    CLICKS_IN_DEFAULT Gauge "curtail_clicks_in_default_partition" [] "Clicks in the default partition, counted up to 10,001: their month had no partition. Read at the start and every hour.";
    MAINTAINED Gauge "curtail_maintenance_last_success_timestamp_seconds" [] "When maintenance last succeeded in every job, in seconds since 1970; 0 if it never has. Read at the start and every hour.";
    KEY_EXPIRY Gauge "curtail_api_key_next_expiry_timestamp_seconds" [] "When the next API key expires, in seconds since 1970; 0 if none will. Read at the start and every hour.";
    LIMITED Counter "curtail_rate_limited_total" ["budget"] "Requests refused with 429, by budget: create, miss (unknown slugs) or key (wrong keys).";
    SHED Counter "curtail_requests_shed_total" [] "Requests of the API shed with 503 because as many were at work as API_CONCURRENCY, or as many exports as EXPORT_CONCURRENCY, allows.";
    PANICS Counter "curtail_panics_total" ["where"] "Panics, by what each of them cost: request (one request, answered with 500) or task (one run of a background task, whose callers got 500 or whose loop started again).";
    CPU Counter "process_cpu_seconds_total" [] "CPU time of the process, user and system.";
    RESIDENT Gauge "process_resident_memory_bytes" [] "Memory that is in use.";
    VIRTUAL Gauge "process_virtual_memory_bytes" [] "Addresses that are in use.";
    OPEN_FDS Gauge "process_open_fds" [] "Open file descriptors.";
    MAX_FDS Gauge "process_max_fds" [] "Open file descriptors that are allowed.";
    THREADS Gauge "process_threads" [] "Threads of the process.";
    STARTED Gauge "process_start_time_seconds" [] "When the process started, in seconds since 1970.";
}

/// The figures of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answers to requests.
    pub http: Http,
    /// Look-ups of slugs, by who answered.
    pub resolve: Resolve,
    /// What went wrong with the shared cache.
    pub shared_cache: SharedCache,
    /// The changes of links that were read from the store.
    pub changes: Changes,
    /// Clicks on their way to the store.
    pub clicks: Clicks,
    /// What operators watch over days.
    pub maintenance: Maintenance,
    /// Requests that were refused because there were too many.
    pub limited: Limited,
    /// Requests of the API and exports that were shed because so many were at work.
    pub shed: Counter,
    /// Operations that got no connection in time, by pool.
    pub pool_timeouts: Named<Counter>,
    /// Statements of the store.
    pub statements: Statements,
    /// Statements that were given up.
    pub cancelled: Cancelled,
    watched: Mutex<Vec<Watched>>,
}

/// Answers to requests.
#[derive(Debug, Default)]
pub struct Http {
    /// Those of redirects.
    pub redirects: Sharded<Redirects>,
    /// All others, by the pattern of their route.
    pub routes: Named<Answers>,
}

/// Answers to requests for redirects.
#[derive(Debug, Default)]
pub struct Redirects {
    /// How many.
    pub answers: Answers,
    /// How long they took.
    pub latency: Histogram,
}

/// Clicks on their way to the store.
#[derive(Debug, Default)]
pub struct Clicks {
    /// Handed over by redirects.
    pub taken: Counter,
    /// Acknowledged by the store.
    pub stored: Counter,
    /// Lost: the buffer was full, or the service stopped while the store was down.
    pub dropped: Counter,
    /// Lost: the store refused their values.
    pub refused: Counter,
    /// Sent to the store, by what was given up of them.
    pub folded: Named<Counter>,
    /// Times that the store did not take a batch, or did not say that it did.
    pub failed: Counter,
    in_default_partition: AtomicU64,
}

impl Clicks {
    /// Notes how many clicks are in the default partition.
    pub fn note_default_partition(&self, number: u64) {
        self.in_default_partition.store(number, Ordering::Relaxed);
    }

    /// Clicks in the default partition, when they were last counted.
    pub fn in_default_partition(&self) -> u64 {
        self.in_default_partition.load(Ordering::Relaxed)
    }
}

/// What operators watch over days.
#[derive(Debug, Default)]
pub struct Maintenance {
    /// When maintenance last succeeded.
    pub last_success: Moment,
    /// When the next API key expires.
    pub next_key_expiry: Moment,
}

/// A time, in seconds since 1970; 0 is none.
#[derive(Debug, Default)]
pub struct Moment(AtomicI64);

impl Moment {
    /// Replaces it.
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// As it was set last.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Look-ups of slugs, by who answered.
#[derive(Debug, Default)]
pub struct Resolve {
    /// The in-process cache.
    pub memory: Counter,
    /// The shared cache.
    pub shared: Counter,
    /// The store, which had the link.
    pub store: Counter,
    /// The store, which had no such link.
    pub absent: Counter,
    /// A cache, past its freshness, because the store did not answer.
    pub stale: Counter,
    /// Nobody.
    pub failed: Counter,
}

/// What went wrong with the shared cache. Each is a miss to the caller.
#[derive(Debug, Default)]
pub struct SharedCache {
    /// Calls that failed, or took longer than their limit.
    pub failed: Counter,
    /// Calls that the open breaker did not let through.
    pub refused: Counter,
    /// Times that the breaker opened.
    pub opened: Counter,
    /// Values that did not fit their key, their format or their schema, and were refused.
    pub rejected: Counter,
}

/// The changes of links that were read from the store.
#[derive(Debug, Default)]
pub struct Changes {
    /// Reads that failed.
    pub failed: Counter,
    /// Changes that no message had announced.
    pub applied: Counter,
    /// Values of the shared cache that a change had outdated.
    pub refused: Counter,
}

/// Requests that were refused because there were too many.
#[derive(Debug, Default)]
pub struct Limited {
    /// Requests that make links.
    pub create: Counter,
    /// Unknown slugs.
    pub miss: Counter,
    /// Keys that are not known.
    pub key: Counter,
}

/// Statements that were given up and that the database was asked to end.
#[derive(Debug, Default)]
pub struct Cancelled {
    /// The database ended them.
    pub ended: Counter,
    /// It did not say so in time.
    pub unknown: Counter,
}

/// A figure that is kept elsewhere, and read when somebody asks.
struct Watched {
    family: &'static str,
    label: &'static str,
    read: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}", self.family, self.label)
    }
}

impl Metrics {
    /// Shows a figure that is kept elsewhere. `label` is the value of the family's label, if it has one; `read` may
    /// answer `None` once what it reads is gone.
    pub fn watch(
        &self,
        family: &'static Family,
        label: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let mut watched = self.watched.lock();
        watched.push(Watched {
            family: family.name,
            label,
            read: Box::new(read),
        });
    }

    /// What the watched figures of a family are now, with their labels' values.
    #[must_use]
    pub fn watched(&self, family: &Family) -> Vec<(&'static str, f64)> {
        let watched = self.watched.lock();
        watched
            .iter()
            .filter(|figure| figure.family == family.name)
            .filter_map(|figure| Some((figure.label, (figure.read)()?)))
            .collect()
    }
}
