//! What figures are made of: numbers that threads count in without disturbing one another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// Threads that count at once share no cache line, up to this many.
const SHARDS: usize = 16;

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

/// A part of its own for each thread. Processors fetch lines in pairs: hence 128 bytes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard<T>(T);

/// Something that each thread counts in its own copy of.
#[derive(Debug, Default)]
pub struct Sharded<T>([Shard<T>; SHARDS]);

impl<T> Sharded<T> {
    /// The copy of this thread.
    pub fn mine(&self) -> &T {
        &self.0[SHARD.with(|shard| *shard)].0
    }

    /// Every copy.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Sharded<AtomicU64>);

impl Counter {
    /// Counts one more.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Counts `number` more.
    pub fn add(&self, number: u64) {
        self.0.mine().fetch_add(number, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.all().map(|shard| shard.load(Ordering::Relaxed)).sum()
    }
}

/// The upper bounds of a histogram's buckets, as they are written and in nanoseconds. What is longer than the last
/// has a bucket too.
pub(super) const BOUNDS: [(&str, u64); 17] = [
    ("0.00001", 10_000),
    ("0.000025", 25_000),
    ("0.00005", 50_000),
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1", 1_000_000_000),
    ("2.5", 2_500_000_000),
];

/// Durations, by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // One by one: most of what is counted is in the first buckets.
        let at = BOUNDS.iter().position(|(_, bound)| nanos <= *bound);
        self.buckets[at.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }
}

/// What some histograms hold together, at one time.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Distribution {
    /// How many durations are in each bucket alone.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All durations together.
    pub seconds: f64,
}

impl Distribution {
    /// What `histograms` hold together.
    pub(super) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self::default();
        let mut nanos = 0_u64;
        for histogram in histograms {
            for (bucket, more) in sum.buckets.iter_mut().zip(&histogram.buckets) {
                *bucket += more.load(Ordering::Relaxed);
            }
            nanos = nanos.wrapping_add(histogram.nanos.load(Ordering::Relaxed));
        }
        sum.seconds = Duration::from_nanos(nanos).as_secs_f64();
        sum
    }
}

/// The methods that are told apart. Any other is counted as the last.
pub(super) const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// The classes of status codes. A status beyond them is counted as the last.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Answers, by method and class of their status.
#[derive(Debug, Default)]
pub struct Answers([[AtomicU64; CLASSES.len()]; METHODS.len()]);

impl Answers {
    /// Counts an answer.
    pub fn add_one(&self, method: &str, status: u16) {
        let method = METHODS
            .iter()
            .position(|name| *name == method)
            .unwrap_or(METHODS.len() - 1);
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.0[method][class].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers of one method and class, by their places in `METHODS` and `CLASSES`.
    #[must_use]
    pub fn get(&self, method: usize, class: usize) -> u64 {
        self.0[method][class].load(Ordering::Relaxed)
    }
}

/// Figures of the same kind by a name that comes from the code, never from a request.
#[derive(Debug, Default)]
pub struct Named<T>(RwLock<BTreeMap<String, Arc<T>>>);

impl<T: Default> Named<T> {
    /// The figure called `name`, which is made if need be.
    pub fn get(&self, name: &str) -> Arc<T> {
        let known = self.0.read();
        if let Some(figure) = known.get(name) {
            return Arc::clone(figure);
        }
        drop(known);
        let mut all = self.0.write();
        Arc::clone(all.entry(name.to_owned()).or_default())
    }

    /// Every figure with its name, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<T>)> {
        let known = self.0.read();
        known
            .iter()
            .map(|(name, figure)| (name.clone(), Arc::clone(figure)))
            .collect()
    }
}

/// How one statement of the store does.
#[derive(Debug, Default)]
pub struct Statement {
    /// How long it took, failures included.
    pub latency: Histogram,
    /// How often it failed.
    pub failed: Counter,
}

/// The statements of the store, by the name that each has in its first line.
#[derive(Debug, Default)]
pub struct Statements {
    by_name: Named<Statement>,
    /// What was run, for tests that look at plans.
    #[cfg(debug_assertions)]
    texts: parking_lot::Mutex<std::collections::BTreeSet<String>>,
}

impl Statements {
    /// Notes that a statement begins.
    #[must_use]
    pub fn begin(&self, sql: &str) -> Running {
        self.begin_called(name_of(sql))
    }

    /// Notes that something begins that has no text of its own, such as a commit.
    #[must_use]
    pub fn begin_called(&self, name: &str) -> Running {
        Running {
            statement: self.by_name.get(name),
            began: Instant::now(),
            ended: false,
        }
    }

    /// Notes a statement that was watched from outside.
    pub fn took(&self, sql: &str, duration: Duration) {
        #[cfg(debug_assertions)]
        self.texts.lock().insert(sql.to_owned());
        self.by_name.get(name_of(sql)).latency.observe(duration);
    }

    /// The statements that were watched from outside.
    #[cfg(debug_assertions)]
    pub fn texts(&self) -> Vec<String> {
        self.texts.lock().iter().cloned().collect()
    }

    /// Every statement that was run, with its name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<Statement>)> {
        self.by_name.all()
    }
}

/// A statement under way. One that is abandoned counts as failed.
#[derive(Debug)]
pub struct Running {
    statement: Arc<Statement>,
    began: Instant,
    ended: bool,
}

impl Running {
    /// Notes how it ended.
    pub fn end<T, E>(mut self, result: &Result<T, E>) {
        self.ended = true;
        if result.is_err() {
            self.statement.failed.add_one();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.statement.latency.observe(self.began.elapsed());
        if !self.ended {
            self.statement.failed.add_one();
        }
    }
}

/// The name in a statement's first line: `redirect` in `-- redirect()`.
fn name_of(sql: &str) -> &str {
    sql.strip_prefix("-- ")
        .and_then(|rest| rest.split_once("()"))
        .map(|(name, _)| name)
        .filter(|name| name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Answers, Counter, Distribution, Histogram, Statements, name_of};

    #[test]
    fn threads_count_together_and_nothing_is_lost() {
        let counter = Counter::default();

        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add_one()));
            }
        });

        assert_eq!(counter.get(), 20_000);
    }

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for nanos in [0, 10_000, 10_001, 1_000_000_000, 9_000_000_000] {
            histogram.observe(Duration::from_nanos(nanos));
        }

        let sum = Distribution::of([&histogram]);

        assert_eq!((sum.buckets[0], sum.buckets[1]), (2, 1));
        assert_eq!((sum.buckets[15], sum.buckets[17]), (1, 1));
        assert!((sum.seconds - 10.000_020_001).abs() < 1e-9, "{}", sum.seconds);
    }

    #[test]
    fn odd_methods_and_statuses_have_a_place() {
        let answers = Answers::default();

        answers.add_one("BREW", 999);
        answers.add_one("GET", 302);

        assert_eq!((answers.get(7, 4), answers.get(0, 2)), (1, 1));
    }

    #[test]
    fn a_statement_is_known_by_its_first_line() {
        assert_eq!(name_of("-- take_click()\nUPDATE links"), "take_click");
        assert_eq!(name_of("SELECT '-- x()'"), "other");
        assert_eq!(name_of("-- Not A Name()\n"), "other");
    }

    #[test]
    fn an_abandoned_statement_counts_as_failed() {
        let statements = Statements::default();

        drop(statements.begin("-- check()\nSELECT 1"));
        statements
            .begin("-- check()\nSELECT 1")
            .end(&Ok::<_, std::fmt::Error>(()));

        let all = statements.all();
        assert_eq!((all[0].0.as_str(), all[0].1.failed.get()), ("check", 1));
        assert_eq!(
            Distribution::of([&all[0].1.latency]).buckets.iter().sum::<u64>(),
            2
        );
    }
}
