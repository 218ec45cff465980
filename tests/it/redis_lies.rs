//! A Redis that holds what no entry looks like: a miss, and replaced.

use curtail::cache::encode;
use curtail::domain::Slug;
use deadpool_redis::redis::cmd;

use crate::redis_server::{Opened, any_slug, connect, get, keep, key, link, needed};

/// Puts `value` where the entry of `slug` belongs, and expects that it is refused, and replaced.
async fn is_rejected_and_replaced(opened: &Opened, slug: &Slug, value: &[u8]) {
    let mut admin = connect(&needed("TEST_REDIS_URL")).await;
    let rejected = &opened.metrics.shared_cache.rejected;
    let before = rejected.get();
    cmd("SET")
        .arg(key(slug))
        .arg(value)
        .exec_async(&mut admin)
        .await
        .unwrap();

    // Found by a look-up: a miss, and gone.
    assert_eq!(get(&*opened.cache, slug).await, None);
    assert_eq!(rejected.get(), before + 1);
    let exists: bool = cmd("EXISTS")
        .arg(key(slug))
        .query_async(&mut admin)
        .await
        .unwrap();
    assert!(!exists);

    // Found by a write: replaced.
    cmd("SET")
        .arg(key(slug))
        .arg(value)
        .exec_async(&mut admin)
        .await
        .unwrap();
    keep(&*opened.cache, slug, &link(slug, 1)).await;
    assert_eq!(get(&*opened.cache, slug).await, Some(link(slug, 1)));
    assert_eq!(opened.metrics.shared_cache.failed.get(), 0);
}

#[tokio::test]
async fn a_value_that_is_no_entry_of_the_slug_is_rejected_and_replaced() {
    let opened = Opened::on_shared_server();
    let (slug, other) = (any_slug(), any_slug());
    let newer = encode(&slug, &link(&slug, 99));
    let future = [b"C3".as_slice(), &newer[2..]].concat();
    let endless = [newer.as_slice(), &[0; 100_000]].concat();

    for value in [
        b"garbage".as_slice(),
        &future,
        &encode(&other, &link(&other, 99)),
        &newer[..10],
    ] {
        is_rejected_and_replaced(&opened, &slug, value).await;
    }
    // The header is right, and outranks what is written next.
    for value in [&newer[..newer.len() - 1], &endless] {
        is_rejected_and_replaced(&opened, &slug, value).await;
    }
}

/// A link in the cache to `javascript:` would run in the visitor's browser.
#[tokio::test]
async fn a_poisoned_target_is_rejected() {
    let opened = Opened::on_shared_server();
    let slug = any_slug();
    let mut poisoned = encode(&slug, &link(&slug, 99));
    let at = poisoned
        .windows(8)
        .position(|window| window == b"https://")
        .unwrap();
    poisoned[at..at + 11].copy_from_slice(b"javascript:");

    is_rejected_and_replaced(&opened, &slug, &poisoned).await;
}

#[tokio::test]
async fn a_value_of_another_type_is_rejected_and_replaced() {
    let opened = Opened::on_shared_server();
    let slug = any_slug();
    let mut admin = connect(&needed("TEST_REDIS_URL")).await;
    for at_a_write in [false, true] {
        cmd("DEL").arg(key(&slug)).exec_async(&mut admin).await.unwrap();
        cmd("LPUSH")
            .arg(key(&slug))
            .arg("a list")
            .exec_async(&mut admin)
            .await
            .unwrap();

        if !at_a_write {
            assert_eq!(get(&*opened.cache, &slug).await, None);
            assert_eq!(opened.metrics.shared_cache.rejected.get(), 1);
        }
        keep(&*opened.cache, &slug, &link(&slug, 1)).await;

        assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, 1)));
    }
    assert_eq!(opened.metrics.shared_cache.failed.get(), 0);
}
