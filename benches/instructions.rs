//! Counts the instructions of the resolver's memory hit and of the codec under callgrind: the same number on every run of the
//! same build, whatever else the machine does. `scripts/bench --instructions` runs it.

#![expect(clippy::unwrap_used, reason = "a benchmark has nobody to report to")]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use curtail::cache::{Cache, Entry, Known, Lookup, MemoryCache, decode, encode};
use curtail::config;
use curtail::domain::{
    Clock, ManualClock, Period, Rank, Redirect, RedirectStatus, Revision, Slug, SystemClock, TargetUrl,
};
use curtail::lifecycle::Lifecycle;
use curtail::service::{Resolver, Visit};
use curtail::store;
use curtail::telemetry::metrics::Metrics;

/// Two runs of each, whose difference has none of the set-up in it.
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

const OPERATIONS: [&str; 5] = [
    "resolver: memory hit",
    "memory cache hit",
    "memory cache miss",
    "encode",
    "decode",
];

fn entry(slug: &Slug) -> Entry {
    let now = ManualClock::default().now();
    Entry {
        known: Known::Link(Arc::new(Redirect {
            slug: slug.clone(),
            revision: Revision::new(7),
            target: TargetUrl::from_stored("https://example.org/articles/1?utm_source=bench").unwrap(),
            status: RedirectStatus::Found,
            cache_seconds: None,
            forward_query: false,
            period: Period::default(),
            limited: false,
            disabled: false,
        })),
        read_at: now,
        fresh_until: now.checked_add(Duration::from_secs(5)).unwrap(),
        stale_until: now.checked_add(Duration::from_secs(3600)).unwrap(),
    }
}

/// A whole visit as a redirect's handler makes it, of a link that memory has.
fn visit(slug: &Slug, times: u64) {
    let hour = Duration::from_secs(3600);
    let times_of_caches = config::Cache {
        redis: None,
        memory_bytes: 1 << 20,
        memory_fresh: hour,
        redis_fresh: hour,
        negative_fresh: hour,
        stale: hour,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let memory = Arc::new(MemoryCache::new(1 << 20));
        let now = SystemClock.steady();
        let fresh = Entry {
            read_at: now,
            fresh_until: now.checked_add(hour).unwrap(),
            stale_until: now.checked_add(hour).unwrap(),
            ..entry(slug)
        };
        memory.put(slug, &fresh, Rank::UNSEEN).await;
        let file = std::env::temp_dir().join(format!("curtail-instructions-{}.db", std::process::id()));
        let settings = config::Store {
            kind: config::StoreKind::Sqlite(file),
            migrate_on_start: false,
        };
        let resolver = Resolver::new(
            &times_of_caches,
            Some(memory),
            None,
            // Never asked.
            store::open(&settings).await.unwrap(),
            Arc::new(SystemClock),
            Arc::new(Metrics::default()),
            Lifecycle::new(),
        );
        for _ in 0..times {
            let visit = resolver.visit(black_box(slug), SystemClock.now(), || true, || Ok(()));
            let visit = visit.await.unwrap();
            assert!(matches!(black_box(visit), Visit::Follow(_)));
        }
    });
}

fn run(operation: &str, times: u64) {
    let slug: Slug = "b0000000".parse().unwrap();
    let absent: Slug = "never-made".parse().unwrap();
    if operation == "resolver: memory hit" {
        return visit(&slug, times);
    }
    let entry = entry(&slug);
    let cache = MemoryCache::new(1 << 20);
    drop(cache.put(&slug, &entry, Rank::UNSEEN));
    let bytes = encode(&slug, &entry);
    let look_up = |slug: &Slug, found: bool| match cache.get(black_box(slug)) {
        Lookup::Ready(entry) => assert_eq!(black_box(entry).is_some(), found),
        Lookup::Pending(_) => unreachable!("memory answers at once"),
    };
    for _ in 0..times {
        match operation {
            "memory cache hit" => look_up(&slug, true),
            "memory cache miss" => look_up(&absent, false),
            "encode" => drop(black_box(encode(black_box(&slug), black_box(&entry)))),
            _ => drop(black_box(decode(black_box(&slug), black_box(&bytes)).unwrap())),
        }
    }
}

/// The instructions of a whole process that runs `operation` so many times.
fn count(operation: &str, times: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([operation, &times.to_string()])
        .output()
        .expect("valgrind can be run");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("{text}"))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, operation, times] = arguments.as_slice() {
        run(operation, times.parse().unwrap());
        return;
    }
    println!("| operation | instructions |\n| --- | ---: |");
    for operation in OPERATIONS {
        let each = (count(operation, MANY) - count(operation, FEW)) / (MANY - FEW);
        println!("| {operation} | {each} |");
    }
}
