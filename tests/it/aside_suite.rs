//! Links that were deleted and are wanted back, run for each store.

use std::sync::Arc;

use curtail::domain::{Actor, Interval, KeyId, Link, Range, Statistics};
use curtail::store::{Chore, Store, StoreError};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::clicks_suite::{batch, click};
use crate::store_suite::{for_every_store, full_link, link, slug};

for_every_store! {
    a_link_comes_back_with_every_field_its_clicks_and_its_sums
    a_link_is_not_brought_back_after_its_time
    a_slug_that_was_taken_meanwhile_is_left_alone
    of_two_that_bring_back_one_does
    only_its_owner_sets_a_link_aside_and_brings_it_back
    what_nobody_wanted_back_is_forgotten_with_its_sums
}

fn now() -> Timestamp {
    "2026-11-21T02:00:00Z".parse().unwrap()
}

async fn statistics(store: &dyn Store, name: &str) -> Option<Statistics> {
    let range = Range::new(None, None, Interval::Day, now()).unwrap();
    let tally = store.tally(&slug(name), &range, 10).await.unwrap();
    tally.map(|tally| Statistics::new(range, tally))
}

async fn a_link_comes_back_with_every_field_its_clicks_and_its_sums(store: &dyn Store) {
    let first = Link {
        revision: store
            .insert_link(&full_link("back"), &Actor::Admin)
            .await
            .unwrap(),
        ..full_link("back")
    };
    store
        .record_clicks(&batch(vec![click("back", now()), click("back", now())]))
        .await
        .unwrap();
    let before = statistics(store, "back").await;

    let last = store
        .set_link_aside(&first.slug, None, None, now(), &Actor::Admin)
        .await
        .unwrap();
    let last = last.unwrap();
    assert!(last > first.revision);
    assert_eq!(store.link(&first.slug).await.unwrap(), None);
    assert_eq!(statistics(store, "back").await, None);
    while store.keep_house(Chore::DropRemains).await.unwrap() > 0 {}
    let back = store
        .restore_link(&first.slug, None, now(), &Actor::Admin)
        .await
        .unwrap()
        .unwrap();

    assert!(back.revision > last);
    let expected = Link {
        revision: back.revision,
        clicks: first.clicks + 2,
        ..first
    };
    assert_eq!(back, expected);
    assert_eq!(store.link(&expected.slug).await.unwrap(), Some(expected));
    assert_eq!(statistics(store, "back").await, before);
    while store.keep_house(Chore::DropRemains).await.unwrap() > 0 {}
    assert_eq!(statistics(store, "back").await, before);
}

async fn a_link_is_not_brought_back_after_its_time(store: &dyn Store) {
    store.insert_link(&link("late"), &Actor::Admin).await.unwrap();
    store
        .set_link_aside(&slug("late"), None, None, now(), &Actor::Admin)
        .await
        .unwrap();

    let since = now() + SignedDuration::from_micros(1);
    let late = store
        .restore_link(&slug("late"), None, since, &Actor::Admin)
        .await
        .unwrap();
    let absent = store
        .restore_link(&slug("absent"), None, now(), &Actor::Admin)
        .await
        .unwrap();

    assert_eq!((late, absent), (None, None));
    assert_eq!(
        store
            .set_link_aside(&slug("late"), None, None, now(), &Actor::Admin)
            .await
            .unwrap(),
        None
    );
}

async fn a_slug_that_was_taken_meanwhile_is_left_alone(store: &dyn Store) {
    store
        .insert_link(&full_link("wanted"), &Actor::Admin)
        .await
        .unwrap();
    store
        .set_link_aside(&slug("wanted"), None, None, now(), &Actor::Admin)
        .await
        .unwrap();
    store.insert_link(&link("wanted"), &Actor::Admin).await.unwrap();

    let result = store
        .restore_link(&slug("wanted"), None, now(), &Actor::Admin)
        .await;

    assert!(matches!(result, Err(StoreError::SlugTaken)), "{result:?}");
    let kept = store.link(&slug("wanted")).await.unwrap().unwrap();
    assert_eq!(kept.title, None);
    store
        .delete_link(&slug("wanted"), None, None, &Actor::Admin)
        .await
        .unwrap();
    let back = store
        .restore_link(&slug("wanted"), None, now(), &Actor::Admin)
        .await
        .unwrap();
    assert_eq!(back.unwrap().title, full_link("wanted").title);
}

async fn of_two_that_bring_back_one_does(store: &dyn Store) {
    store.insert_link(&link("twice"), &Actor::Admin).await.unwrap();
    store
        .set_link_aside(&slug("twice"), None, None, now(), &Actor::Admin)
        .await
        .unwrap();
    let name = slug("twice");

    let results = join_all((0..4).map(|_| store.restore_link(&name, None, now(), &Actor::Admin))).await;

    let brought_back = results.iter().filter(|result| matches!(result, Ok(Some(_))));
    assert_eq!(brought_back.count(), 1, "{results:?}");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn only_its_owner_sets_a_link_aside_and_brings_it_back(store: &dyn Store) {
    let (owner, other): (KeyId, KeyId) = ("a1B2c3D4e5F6".parse().unwrap(), "f6E5d4C3b2A1".parse().unwrap());
    let owned = Link {
        owner: Some(owner.clone()),
        ..link("owned")
    };
    store.insert_link(&owned, &Actor::Admin).await.unwrap();

    let by_other = store
        .set_link_aside(&owned.slug, Some(&other), None, now(), &Actor::Admin)
        .await
        .unwrap();
    let by_owner = store
        .set_link_aside(&owned.slug, Some(&owner), None, now(), &Actor::Admin)
        .await
        .unwrap();
    let back_for_other = store
        .restore_link(&owned.slug, Some(&other), now(), &Actor::Admin)
        .await
        .unwrap();
    let back_for_owner = store
        .restore_link(&owned.slug, Some(&owner), now(), &Actor::Admin)
        .await
        .unwrap();

    assert_eq!((by_other, back_for_other), (None, None));
    assert!(by_owner.is_some() && back_for_owner.is_some());
}

async fn what_nobody_wanted_back_is_forgotten_with_its_sums(store: &dyn Store) {
    store.insert_link(&link("gone"), &Actor::Admin).await.unwrap();
    let clicks = Arc::clone(&batch(vec![click("gone", now())]));
    store.record_clicks(&clicks).await.unwrap();
    store
        .set_link_aside(&slug("gone"), None, None, now(), &Actor::Admin)
        .await
        .unwrap();

    let early = store.keep_house(Chore::ForgetSetAside(now())).await.unwrap();
    let sums_kept = store.keep_house(Chore::DropRemains).await.unwrap();
    let late = now() + SignedDuration::from_secs(1);
    let forgotten = store.keep_house(Chore::ForgetSetAside(late)).await.unwrap();
    let sums_dropped = store.keep_house(Chore::DropRemains).await.unwrap();

    assert_eq!((early, sums_kept, forgotten), (0, 0, 1));
    assert!(sums_dropped > 0);
    assert_eq!(
        store
            .restore_link(&slug("gone"), None, now(), &Actor::Admin)
            .await
            .unwrap(),
        None
    );
}
