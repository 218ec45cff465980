//! What every cache does, run for each of them.

use std::sync::Arc;
use std::time::Duration;

use curtail::cache::{Cache, Entry, MemoryCache, Put};
use curtail::domain::{Clock, ManualClock, Rank, Revision, Slug};

use crate::cache_codec::samples_of;
use crate::redis_server::{Opened, absent, any_slug, get, is_healthy, keep, link, link_to};

/// Makes one test of each function for each cache.
macro_rules! suite {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(std::sync::Arc::new(super::MemoryCache::new(1 << 20))).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Opened::on_shared_server().cache).await;
            })*
        }

        /// All of it, one after another.
        pub async fn all(cache: &Arc<dyn Cache>) {
            $($test(Arc::clone(cache)).await;)*
        }
    };
}

suite! {
    what_was_never_put_is_a_miss
    what_was_put_is_found
    every_field_of_a_link_comes_back
    the_newer_link_replaces_the_older
    an_older_link_is_refused_and_told_what_stands
    the_same_revision_is_put_again_with_new_times
    a_deletion_outranks_its_link_and_a_new_link_the_deletion
    absent_replaces_only_what_was_seen
    of_many_racing_writers_the_newest_stands
    of_many_put_at_once_each_is_decided_by_itself
    one_slug_does_not_touch_another
    an_invalidation_removes_what_is_older
    an_entry_past_its_time_is_still_answered
    a_cache_that_answers_is_healthy
}

async fn what_was_never_put_is_a_miss(cache: Arc<dyn Cache>) {
    let slug = any_slug();

    assert_eq!(get(&*cache, &slug).await, None);
}

async fn what_was_put_is_found(cache: Arc<dyn Cache>) {
    let (present, missing) = (any_slug(), any_slug());

    keep(&*cache, &present, &link(&present, 7)).await;
    keep(&*cache, &missing, &absent(Rank::UNSEEN)).await;

    assert_eq!(get(&*cache, &present).await, Some(link(&present, 7)));
    assert_eq!(get(&*cache, &missing).await, Some(absent(Rank::UNSEEN)));
}

async fn every_field_of_a_link_comes_back(cache: Arc<dyn Cache>) {
    let slug = any_slug();

    for entry in samples_of(&slug) {
        cache.put(&slug, &entry, Rank::from_number(u64::MAX)).await;

        assert_eq!(get(&*cache, &slug).await, Some(entry));
    }
}

async fn the_newer_link_replaces_the_older(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    keep(&*cache, &slug, &link(&slug, 9)).await;

    keep(&*cache, &slug, &link(&slug, 10)).await;

    assert_eq!(get(&*cache, &slug).await, Some(link(&slug, 10)));
}

/// A reader that read the store before a change once put the old state back.
async fn an_older_link_is_refused_and_told_what_stands(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    keep(&*cache, &slug, &link(&slug, 10)).await;

    let outcome = cache.put(&slug, &link(&slug, 9), Rank::UNSEEN).await;

    assert_eq!(outcome, Put::Outranked(link(&slug, 10)));
    assert_eq!(get(&*cache, &slug).await, Some(link(&slug, 10)));
}

async fn of_many_put_at_once_each_is_decided_by_itself(cache: Arc<dyn Cache>) {
    let (older, new, newer) = (any_slug(), any_slug(), any_slug());
    keep(&*cache, &older, &link(&older, 1)).await;
    keep(&*cache, &newer, &link(&newer, 10)).await;
    let entries = [&older, &new, &newer].map(|slug| (slug.clone(), link(slug, 5)));

    let outcomes = cache.put_many(&entries).await;

    assert_eq!(outcomes, [Put::Kept, Put::Kept, Put::Outranked(link(&newer, 10))]);
    assert_eq!(get(&*cache, &older).await, Some(link(&older, 5)));
    assert_eq!(get(&*cache, &new).await, Some(link(&new, 5)));
    assert_eq!(get(&*cache, &newer).await, Some(link(&newer, 10)));
}

async fn the_same_revision_is_put_again_with_new_times(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    let first = link(&slug, 3);
    let again = Entry {
        fresh_until: first.fresh_until + Duration::from_secs(60),
        ..first.clone()
    };
    keep(&*cache, &slug, &first).await;

    keep(&*cache, &slug, &again).await;

    assert_eq!(get(&*cache, &slug).await, Some(again));
}

async fn a_deletion_outranks_its_link_and_a_new_link_the_deletion(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    let deleted = absent(Rank::of_deletion(Revision::new(5)));
    keep(&*cache, &slug, &link(&slug, 5)).await;
    keep(&*cache, &slug, &deleted).await;

    let late = cache.put(&slug, &link(&slug, 5), Rank::UNSEEN).await;
    let never_was = cache.put(&slug, &absent(Rank::UNSEEN), Rank::UNSEEN).await;

    assert_eq!(late, Put::Outranked(deleted.clone()));
    assert_eq!(never_was, Put::Outranked(deleted));
    keep(&*cache, &slug, &link(&slug, 6)).await;
    assert_eq!(get(&*cache, &slug).await, Some(link(&slug, 6)));
}

async fn absent_replaces_only_what_was_seen(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    keep(&*cache, &slug, &link(&slug, 5)).await;

    let seen_less = cache
        .put(&slug, &absent(Rank::UNSEEN), Rank::of_link(Revision::new(4)))
        .await;
    let seen_it = cache
        .put(&slug, &absent(Rank::UNSEEN), Rank::of_link(Revision::new(5)))
        .await;

    assert_eq!(seen_less, Put::Outranked(link(&slug, 5)));
    assert_eq!(seen_it, Put::Kept);
    assert_eq!(get(&*cache, &slug).await, Some(absent(Rank::UNSEEN)));
}

async fn of_many_racing_writers_the_newest_stands(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    let mut revisions: Vec<i64> = (1..=64).collect();
    fastrand::shuffle(&mut revisions);

    let mut writers = tokio::task::JoinSet::new();
    for chunk in revisions.chunks(16).map(<[i64]>::to_vec) {
        let (cache, slug) = (Arc::clone(&cache), slug.clone());
        writers.spawn(async move {
            for revision in chunk {
                let outcome = cache.put(&slug, &link(&slug, revision), Rank::UNSEEN).await;
                assert_ne!(outcome, Put::Lost);
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }

    assert_eq!(get(&*cache, &slug).await, Some(link(&slug, 64)));
}

async fn one_slug_does_not_touch_another(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    let longer = format!("{slug}-2").parse().unwrap();
    keep(&*cache, &slug, &link(&slug, 5)).await;

    keep(&*cache, &longer, &link(&longer, 1)).await;
    keep(&*cache, &longer, &absent(Rank::of_deletion(Revision::new(1)))).await;

    assert_eq!(get(&*cache, &slug).await, Some(link(&slug, 5)));
}

async fn an_invalidation_removes_what_is_older(cache: Arc<dyn Cache>) {
    let (older, same, gone, longer) = (any_slug(), any_slug(), any_slug(), any_slug());
    let version = Rank::of_link(Revision::new(7));
    keep(&*cache, &older, &link(&older, 6)).await;
    keep(&*cache, &same, &link(&same, 7)).await;
    keep(&*cache, &gone, &absent(Rank::UNSEEN)).await;
    keep(&*cache, &longer, &link(&longer, 9)).await;

    for slug in [&older, &same, &gone, &longer, &any_slug()] {
        assert!(cache.invalidate(slug, version).await);
    }

    assert_eq!(get(&*cache, &older).await, None);
    assert_eq!(get(&*cache, &same).await, Some(link(&same, 7)));
    assert_eq!(get(&*cache, &gone).await, None);
    assert_eq!(get(&*cache, &longer).await, Some(link(&longer, 9)));
    assert!(cache.invalidate(&longer, Rank::LAST).await);
    assert_eq!(get(&*cache, &longer).await, None);
}

async fn an_entry_past_its_time_is_still_answered(cache: Arc<dyn Cache>) {
    let slug = any_slug();
    let now = ManualClock::default().now();
    let past = now - Duration::from_secs(60);
    let stale = Entry {
        fresh_until: past,
        stale_until: now + Duration::from_secs(60),
        ..link(&slug, 1)
    };

    keep(&*cache, &slug, &stale).await;

    assert_eq!(get(&*cache, &slug).await, Some(stale));
}

async fn a_cache_that_answers_is_healthy(cache: Arc<dyn Cache>) {
    assert!(is_healthy(&*cache).await);
}

/// Were they kept together, anyone could empty the cache by asking for random slugs.
#[tokio::test]
async fn a_scan_of_unknown_slugs_leaves_the_links_in_memory() {
    let cache = MemoryCache::new(100_000);
    let slug = any_slug();
    keep(&cache, &slug, &link(&slug, 1)).await;

    for _ in 0..10_000 {
        keep(&cache, &any_slug(), &absent(Rank::UNSEEN)).await;
    }

    assert_eq!(get(&cache, &slug).await, Some(link(&slug, 1)));
    assert!(cache.bytes() <= 100_000 / 8 + 1_000, "{cache:?}");
}

/// Memory was bounded by the number of entries: with long destination URLs 100,000 of them took 225 MiB.
#[tokio::test]
async fn memory_is_bounded_by_bytes_however_long_slugs_and_destinations_are() {
    const BYTES: u64 = 4 << 20;
    let cache = MemoryCache::new(BYTES);
    let long = format!("https://example.org/{}", "x".repeat(1_980));

    let mut held = Vec::new();
    for number in 0..20_000 {
        let slug: Slug = format!("{number:064}").parse().unwrap();
        keep(&cache, &slug, &link_to(&slug, &long)).await;
        let absent_slug: Slug = format!("{number:063}x").parse().unwrap();
        keep(&cache, &absent_slug, &absent(Rank::UNSEEN)).await;
        held.push(slug);
    }

    assert!(cache.bytes() <= BYTES, "{cache:?}");
    let mut found = 0_u64;
    for slug in &held {
        found += u64::from(get(&cache, slug).await.is_some());
    }
    // What is counted is what is there: each link holds its destination URL at least.
    assert!(found * 2_000 <= BYTES, "{found} links");
    assert!(found * 2_000 >= BYTES / 2, "{found} links");
}

#[tokio::test]
async fn the_default_memory_holds_some_100_000_links_with_short_destinations() {
    let cache = MemoryCache::new(40 << 20);

    for number in 0..100_000 {
        let slug: Slug = format!("b{number:07}").parse().unwrap();
        let destination = format!("https://example.org/articles/{number}?utm_source=bench");
        keep(&cache, &slug, &link_to(&slug, &destination)).await;
    }

    assert!(format!("{cache:?}").contains("links: 100000"), "{cache:?}");
}

#[tokio::test]
async fn the_smallest_memory_holds_the_last_entry() {
    let cache = MemoryCache::new(1 << 20);

    for _ in 0..10 {
        let slug = any_slug();
        keep(&cache, &slug, &link(&slug, 1)).await;
        assert_eq!(get(&cache, &slug).await, Some(link(&slug, 1)));
    }
}
