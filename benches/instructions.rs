//! Counts the instructions of a memory hit and of the codec under callgrind: the same number on every run of the
//! same build, whatever else the machine does. `scripts/bench --instructions` runs it.

#![expect(clippy::unwrap_used, reason = "a benchmark has nobody to report to")]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use curtail::cache::{Cache, Entry, Known, Lookup, MemoryCache, decode, encode};
use curtail::domain::{Clock, ManualClock, Rank, Redirect, RedirectStatus, Revision, Slug, TargetUrl};

/// Two runs of each, whose difference has none of the set-up in it.
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

const OPERATIONS: [&str; 4] = ["memory cache hit", "memory cache miss", "encode", "decode"];

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
            valid_from: None,
            expires_at: None,
            limited: false,
            disabled: false,
        })),
        fresh_until: now.checked_add(Duration::from_secs(5)).unwrap(),
        stale_until: now.checked_add(Duration::from_secs(3600)).unwrap(),
    }
}

fn run(operation: &str, times: u64) {
    let slug: Slug = "b0000000".parse().unwrap();
    let absent: Slug = "never-made".parse().unwrap();
    let entry = entry(&slug);
    let cache = MemoryCache::new(1_000);
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
