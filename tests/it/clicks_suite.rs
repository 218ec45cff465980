//! Clicks and their sums, on every store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use curtail::domain::{
    Actor, Click, ClickBatch, Dimension, Interval, Link, Range, Ranked, Statistics, day_of,
};
use curtail::store::{Chore, ClickGrant, Store, StoreError};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::db;
use crate::store_suite::{LATEST, for_every_store, link, slug};

for_every_store! {
    a_batch_is_counted_once_however_often_it_comes
    batches_of_many_instances_at_once_are_all_counted
    a_click_that_the_limit_has_counted_is_not_counted_again
    clicks_of_links_that_are_gone_are_left_out
    values_beyond_the_bound_are_other
    the_sums_equal_a_recount
    clicks_are_summed_once_by_many_at_once
    unsummed_clicks_go_with_their_link
    the_day_has_one_secret_for_all
    a_link_made_again_begins_at_nothing
    a_click_belongs_to_the_link_that_was_followed
    a_click_of_a_limit_is_taken_of_the_link_that_was_followed
    old_clicks_go_and_the_total_stays
    expired_links_are_purged_with_their_sums
    chores_can_be_done_by_many_at_once
    a_batch_without_clicks_takes_its_id
    values_that_do_not_fit_are_refused_for_good
    a_closed_store_takes_no_clicks
}

fn now() -> Timestamp {
    "2026-11-21T02:00:00Z".parse().unwrap()
}

pub fn click(name: &str, at: Timestamp) -> Click {
    Click {
        number: 1,
        at,
        slug: slug(name),
        revision: LATEST,
        bot: false,
        scan: false,
        counted: false,
        visitor: Some(1),
        referrer: "(direct)".into(),
        browser: "Firefox",
        system: "Linux",
        device: "desktop",
        country: None,
        language: "en".into(),
    }
}

pub fn batch(clicks: Vec<Click>) -> Arc<ClickBatch> {
    Arc::new(ClickBatch {
        id: format!("{:032x}", fastrand::u128(..)),
        made_at: now(),
        clicks,
    })
}

async fn statistics(store: &dyn Store, name: &str, range: Range, limit: u16) -> Statistics {
    let tally = store.tally(&slug(name), &range, limit).await.unwrap().unwrap();
    Statistics::new(range, tally)
}

fn last_days() -> Range {
    Range::new(None, None, Interval::Day, now()).unwrap()
}

async fn total(store: &dyn Store, name: &str) -> i64 {
    store.link(&slug(name)).await.unwrap().unwrap().clicks
}

/// Sums all clicks by value, and answers how many pieces that took.
async fn sum(store: &dyn Store) -> usize {
    let mut pieces = 0;
    while store.keep_house(Chore::SumValues).await.unwrap() > 0 {
        pieces += 1;
    }
    pieces
}

async fn a_batch_is_counted_once_however_often_it_comes(store: &dyn Store) {
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    let bot = Click {
        bot: true,
        ..click("a", now())
    };
    let batch = batch(vec![click("a", now()), click("a", now()), bot]);

    for result in join_all((0..4).map(|_| store.record_clicks(&batch))).await {
        result.unwrap();
    }

    let statistics = statistics(store, "a", last_days(), 10).await;
    let counts = statistics.total;
    assert_eq!((counts.clicks, counts.bots, counts.visitors), (2, 1, 1));
    assert_eq!(total(store, "a").await, 2);
}

async fn batches_of_many_instances_at_once_are_all_counted(store: &dyn Store) {
    let names = ["a", "b", "c", "d"];
    for name in names {
        store.insert_link(&link(name), &Actor::Admin).await.unwrap();
    }
    let batches = (0..12).map(|round| {
        // Each in another order, so that locks taken as they come would wait for each other.
        let mut clicks: Vec<Click> = names.iter().map(|name| click(name, now())).collect();
        clicks.rotate_left(round % 4);
        batch(clicks)
    });

    // Twelve at once may be more than the pool lets wait: a batch that was refused is tried again, as instances do.
    let record = |batch: Arc<ClickBatch>| async move {
        for _ in 0..20 {
            match store.record_clicks(&batch).await {
                Err(StoreError::Unavailable(_) | StoreError::Overloaded) => tokio::task::yield_now().await,
                result => return result,
            }
        }
        store.record_clicks(&batch).await
    };
    for result in join_all(batches.map(record)).await {
        result.unwrap();
    }

    for name in names {
        assert_eq!(total(store, name).await, 12);
        assert_eq!(statistics(store, name, last_days(), 10).await.total.clicks, 12);
    }
}

async fn a_click_that_the_limit_has_counted_is_not_counted_again(store: &dyn Store) {
    let limited = Link {
        max_clicks: Some(5),
        ..link("limited")
    };
    store.insert_link(&limited, &Actor::Admin).await.unwrap();
    assert_eq!(
        store.take_click(&limited.slug, LATEST).await.unwrap(),
        ClickGrant::Granted
    );
    let counted = Click {
        counted: true,
        ..click("limited", now())
    };

    store.record_clicks(&batch(vec![counted])).await.unwrap();

    assert_eq!(total(store, "limited").await, 1);
    assert_eq!(
        statistics(store, "limited", last_days(), 10).await.total.clicks,
        1
    );
}

async fn clicks_of_links_that_are_gone_are_left_out(store: &dyn Store) {
    store.insert_link(&link("here"), &Actor::Admin).await.unwrap();
    let clicks = vec![click("gone", now()), click("here", now())];

    store.record_clicks(&batch(clicks)).await.unwrap();

    assert_eq!(total(store, "here").await, 1);
    let gone = store.tally(&slug("gone"), &last_days(), 10).await.unwrap();
    assert_eq!(gone, None);
}

async fn values_beyond_the_bound_are_other(store: &dyn Store) {
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    let from = |number: usize| Click {
        referrer: format!("{number:04}.example").into(),
        ..click("a", now())
    };
    let first: Vec<Click> = (0..60).map(from).collect();
    let second: Vec<Click> = (0..150).map(from).collect();

    for clicks in [first, second.clone(), second] {
        store.record_clicks(&batch(clicks)).await.unwrap();
        assert_eq!(sum(store).await, 1);
    }

    let statistics = statistics(store, "a", last_days(), 1000).await;
    let values: Vec<&Ranked> = statistics.values(Dimension::Referrer).collect();
    assert_eq!(values.len() as i64, Dimension::MAX_VALUES + 1);
    assert_eq!(
        (values[0].value.as_str(), values[0].clicks),
        (Dimension::OTHER, 100)
    );
    assert_eq!((values[1].value.as_str(), values[1].clicks), ("0000.example", 3));
    assert_eq!(values.iter().map(|value| value.clicks).sum::<i64>(), 360);
    assert_eq!(statistics.values(Dimension::Country).count(), 0);
}

/// How many clicks are recounted; `scripts/recount` asks for a million.
fn number_of_clicks() -> usize {
    db::variable("CURTAIL_TEST_CLICKS").map_or(6_000, |text| text.parse().unwrap())
}

fn generate(random: &mut fastrand::Rng) -> Click {
    let back = SignedDuration::from_secs(random.i64(0..45 * 86_400));
    let name = ["a", "a", "a", "b"][random.usize(..4)];
    let pick =
        |random: &mut fastrand::Rng, number: usize| random.usize(..number) * random.usize(..number) / number;
    Click {
        number: [1, 1, 1, 7][random.usize(..4)],
        bot: random.u8(..10) == 0,
        scan: random.u8(..4) == 0,
        visitor: Some(random.i64(0..500)),
        referrer: format!("{}.example", pick(random, 90)).into(),
        browser: ["Chrome", "Safari", "Firefox", "Edge"][pick(random, 4)],
        system: ["Android", "iOS", "Windows"][pick(random, 3)],
        device: ["mobile", "desktop"][pick(random, 2)],
        country: Some(["DE", "CH", "US", "FR", "JP"][pick(random, 5)].to_owned()).filter(|_| random.bool()),
        language: ["en", "de", "fr"][pick(random, 3)].into(),
        ..click(name, now() - back)
    }
}

/// What the statistics of `name` must be, counted plainly.
fn recount(
    clicks: &[Click],
    name: &str,
    range: Range,
    limit: usize,
) -> (Vec<(i64, i64, i64)>, i64, Vec<Ranked>) {
    let inside =
        |click: &&Click| click.slug.as_str() == name && click.at >= range.from && click.at < range.to;
    let inside: Vec<&Click> = clicks.iter().filter(inside).collect();
    let starts = range.starts();
    let mut series = vec![(0, 0, 0); starts.len()];
    let mut visitors = BTreeSet::new();
    let mut values: BTreeMap<(Dimension, &str), i64> = BTreeMap::new();
    for click in inside {
        let bucket = &mut series[starts.partition_point(|start| *start <= click.at) - 1];
        let number = i64::from(click.number);
        if click.bot {
            bucket.1 += number;
            continue;
        }
        bucket.0 += number;
        bucket.2 += if click.scan { number } else { 0 };
        visitors.insert((day_of(click.at), click.visitor));
        for dimension in Dimension::ALL {
            if let Some(value) = click.value(dimension) {
                *values.entry((dimension, value)).or_default() += number;
            }
        }
    }
    let mut ranked = Vec::new();
    for dimension in Dimension::ALL {
        let mut of_one: Vec<Ranked> = values
            .iter()
            .filter(|((of, _), _)| *of == dimension)
            .map(|((dimension, value), clicks)| Ranked {
                dimension: *dimension,
                value: (*value).to_owned(),
                clicks: *clicks,
            })
            .collect();
        of_one.sort_by(|a, b| b.clicks.cmp(&a.clicks).then_with(|| a.value.cmp(&b.value)));
        of_one.truncate(limit);
        ranked.extend(of_one);
    }
    (series, visitors.len() as i64, ranked)
}

async fn the_sums_equal_a_recount(store: &dyn Store) {
    let mut random = fastrand::Rng::with_seed(7);
    for name in ["a", "b"] {
        store.insert_link(&link(name), &Actor::Admin).await.unwrap();
    }
    let clicks: Vec<Click> = (0..number_of_clicks()).map(|_| generate(&mut random)).collect();
    let parts: Vec<_> = clicks.chunks(2000).collect();
    for (number, part) in parts.iter().enumerate() {
        store.record_clicks(&batch(part.to_vec())).await.unwrap();
        // The last thousands are not summed by value yet.
        if number + 3 == parts.len() {
            assert!(sum(store).await > 0);
        }
    }
    compare_with_a_recount(store, &clicks).await;

    assert!(sum(store).await > 0);
    compare_with_a_recount(store, &clicks).await;
}

async fn compare_with_a_recount(store: &dyn Store, clicks: &[Click]) {
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let questions = [
        (None, None, Interval::Day, true),
        (None, None, Interval::Month, true),
        (None, None, Interval::Hour, false),
        (
            time("2026-11-01T05:00:00Z"),
            time("2026-11-04T17:00:00Z"),
            Interval::Hour,
            false,
        ),
        (
            time("2026-11-01T05:00:00Z"),
            time("2026-11-01T09:00:00Z"),
            Interval::Hour,
            false,
        ),
        (
            time("2020-01-01T00:00:00Z"),
            time("2020-01-02T00:00:00Z"),
            Interval::Day,
            true,
        ),
    ];
    for name in ["a", "b"] {
        for (from, to, interval, whole_days) in questions {
            let range = Range::new(from, to, interval, now()).unwrap();
            let (series, visitors, values) = recount(clicks, name, range, 7);

            let start = std::time::Instant::now();
            let found = statistics(store, name, range, 7).await;
            println!(
                "{name} {interval:?}: {:?} for {} clicks",
                start.elapsed(),
                found.total.clicks
            );

            let found_series: Vec<_> = found
                .series
                .iter()
                .map(|bucket| (bucket.counts.clicks, bucket.counts.bots, bucket.counts.scans))
                .collect();
            assert_eq!(found_series, series, "{name} {range:?}");
            let found_values: Vec<Ranked> = Dimension::ALL
                .iter()
                .flat_map(|dimension| found.values(*dimension).cloned())
                .collect();
            assert_eq!(found_values, values, "{name} {range:?}");
            if whole_days {
                assert_eq!(found.total.visitors, visitors, "{name} {range:?}");
            }
        }
        let human = |click: &&Click| click.slug.as_str() == name && !click.bot;
        assert_eq!(
            total(store, name).await,
            clicks
                .iter()
                .filter(human)
                .map(|click| i64::from(click.number))
                .sum::<i64>()
        );
    }
}

async fn clicks_are_summed_once_by_many_at_once(store: &dyn Store) {
    for name in ["a", "b"] {
        store.insert_link(&link(name), &Actor::Admin).await.unwrap();
    }
    // More than one piece, and fewer than the bound of values.
    let clicks = |round: i64| {
        (0..700).map(move |number: i64| Click {
            referrer: format!("{}.example", number % 90).into(),
            country: Some(["CH", "DE"][usize::try_from(number % 2).unwrap()].to_owned()),
            browser: ["Chrome", "Firefox", "Safari"][usize::try_from(round % 3).unwrap()],
            ..click(
                ["a", "b"][usize::try_from(number % 2).unwrap()],
                now() - SignedDuration::from_hours(number % 5),
            )
        })
    };
    let record = async {
        for round in 0..9 {
            store
                .record_clicks(&batch(clicks(round).collect()))
                .await
                .unwrap();
        }
    };
    // Some find that another is at it, or that nothing is there yet.
    let some = async || {
        for _ in 0..12 {
            match store.keep_house(Chore::SumValues).await {
                Ok(_) | Err(StoreError::Overloaded) => tokio::task::yield_now().await,
                Err(err) => panic!("{err}"),
            }
        }
    };

    tokio::join!(record, some(), some(), some());

    sum(store).await;
    for name in ["a", "b"] {
        let statistics = statistics(store, name, last_days(), 200).await;
        assert_eq!(statistics.total.clicks, 9 * 350);
        for dimension in Dimension::ALL {
            let clicks: i64 = statistics.values(dimension).map(|value| value.clicks).sum();
            assert_eq!(clicks, 9 * 350, "{name} {dimension:?}");
        }
        let browsers: Vec<i64> = statistics
            .values(Dimension::Browser)
            .map(|value| value.clicks)
            .collect();
        assert_eq!(browsers, [1050, 1050, 1050]);
    }
}

/// Deletes clicks and stats from before a time.
async fn drop_before(store: &dyn Store, before: Timestamp) {
    for chore in [
        Chore::DropClicks(before),
        Chore::DropHours(before),
        Chore::DropValues(before),
    ] {
        while store.keep_house(chore).await.unwrap() > 0 {}
    }
}

async fn unsummed_clicks_go_with_their_link(store: &dyn Store) {
    store.insert_link(&link("gone"), &Actor::Admin).await.unwrap();
    store
        .record_clicks(&batch(vec![click("gone", now())]))
        .await
        .unwrap();
    let left = statistics(store, "gone", last_days(), 10).await;
    assert_eq!(left.values(Dimension::Browser).next().unwrap().clicks, 1);
    store
        .delete_link(&slug("gone"), None, None, &Actor::Admin)
        .await
        .unwrap();

    while store.keep_house(Chore::DropRemains).await.unwrap() > 0 {}

    assert_eq!(sum(store).await, 0);
}

async fn the_day_has_one_secret_for_all(store: &dyn Store) {
    let today = day_of(now());
    let tomorrow = today + SignedDuration::from_hours(24);
    let two_days_on = today + SignedDuration::from_hours(48);
    let candidates: Vec<String> = (0..8).map(|number| format!("candidate {number}")).collect();

    let secrets = join_all(candidates.iter().map(|own| store.visitor_secret(today, own))).await;

    let secrets: BTreeSet<String> = secrets.into_iter().map(Result::unwrap).collect();
    assert_eq!(secrets.len(), 1);
    assert_eq!(store.visitor_secret(tomorrow, "other").await.unwrap(), "other");
    assert!(secrets.contains(&store.visitor_secret(today, "late").await.unwrap()));
    store.visitor_secret(two_days_on, "third").await.unwrap();
    let again = store.visitor_secret(today, "forgotten").await.unwrap();
    assert_eq!(again, "forgotten", "the key of a past day was not deleted");
}

async fn a_link_made_again_begins_at_nothing(store: &dyn Store) {
    store.insert_link(&link("again"), &Actor::Admin).await.unwrap();
    store
        .record_clicks(&batch(vec![click("again", now())]))
        .await
        .unwrap();
    store
        .delete_link(&slug("again"), None, None, &Actor::Admin)
        .await
        .unwrap();

    store.insert_link(&link("again"), &Actor::Admin).await.unwrap();

    let before = statistics(store, "again", last_days(), 10).await;
    assert_eq!(before.total.clicks, 0);
    while store.keep_house(Chore::DropRemains).await.unwrap() > 0 {}
    store
        .record_clicks(&batch(vec![click("again", now())]))
        .await
        .unwrap();
    let after = statistics(store, "again", last_days(), 10).await;
    assert_eq!((after.total.clicks, after.total.visitors), (1, 1));
}

/// Clicks that waited were counted for the next link with the slug.
async fn a_click_belongs_to_the_link_that_was_followed(store: &dyn Store) {
    let first = store.insert_link(&link("slug"), &Actor::Admin).await.unwrap();
    store.insert_link(&link("other"), &Actor::Admin).await.unwrap();
    store
        .set_link_aside(&slug("slug"), None, None, now(), &Actor::Admin)
        .await
        .unwrap();
    let second = store.insert_link(&link("slug"), &Actor::Admin).await.unwrap();
    let clicked = |revision| Click {
        revision,
        ..click("slug", now())
    };

    let late = batch(vec![clicked(first), clicked(first), click("other", now())]);
    assert!(store.record_clicks(&late).await.unwrap());

    assert_eq!((total(store, "slug").await, total(store, "other").await), (0, 1));
    let counts = statistics(store, "slug", last_days(), 10).await.total;
    assert_eq!((counts.clicks, counts.visitors), (0, 0));
    store.record_clicks(&batch(vec![clicked(second)])).await.unwrap();
    assert_eq!(total(store, "slug").await, 1);

    // A link that is restored is the one that was followed, whatever revision it has now.
    store
        .delete_link(&slug("slug"), None, None, &Actor::Admin)
        .await
        .unwrap();
    let restored = store
        .restore_link(&slug("slug"), None, now(), &Actor::Admin)
        .await
        .unwrap()
        .unwrap();
    assert!(restored.revision > second);
    store.record_clicks(&batch(vec![clicked(first)])).await.unwrap();
    store
        .record_clicks(&batch(vec![clicked(restored.revision)]))
        .await
        .unwrap();
    assert_eq!(total(store, "slug").await, 2);
    // Links of every way to create one know their first revision.
    let candidate = curtail::store::Candidate {
        link: link("many"),
        chosen: true,
        reuse: false,
    };
    let arrival = curtail::store::Arrival {
        link: link("imported"),
        dated: false,
    };
    store
        .insert_links(&[candidate], None, &Actor::Admin)
        .await
        .unwrap();
    store
        .take_links(&[arrival], &curtail::store::Rules::default(), &Actor::Admin)
        .await
        .unwrap();
    for name in ["many", "imported"] {
        let revision = store.link(&slug(name)).await.unwrap().unwrap().revision;
        let before = curtail::domain::Revision::new(revision.get() - 1);
        for (revision, number) in [(before, 0), (revision, 1)] {
            let clicked = Click {
                revision,
                ..click(name, now())
            };
            store.record_clicks(&batch(vec![clicked])).await.unwrap();
            assert_eq!(total(store, name).await, number, "{name}");
        }
    }
}

async fn a_click_of_a_limit_is_taken_of_the_link_that_was_followed(store: &dyn Store) {
    let limited = Link {
        max_clicks: Some(2),
        ..link("limited")
    };
    let first = store.insert_link(&limited, &Actor::Admin).await.unwrap();
    assert_eq!(
        store.take_click(&limited.slug, first).await.unwrap(),
        ClickGrant::Granted
    );
    store
        .delete_link(&limited.slug, None, None, &Actor::Admin)
        .await
        .unwrap();
    let second = store.insert_link(&limited, &Actor::Admin).await.unwrap();

    assert_eq!(
        store.take_click(&limited.slug, first).await.unwrap(),
        ClickGrant::Gone
    );
    assert_eq!(total(store, "limited").await, 0);
    assert_eq!(
        store.take_click(&limited.slug, second).await.unwrap(),
        ClickGrant::Granted
    );
}

async fn old_clicks_go_and_the_total_stays(store: &dyn Store) {
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    let old = now() - SignedDuration::from_hours(24 * 20);
    store
        .record_clicks(&batch(vec![click("a", old), click("a", now())]))
        .await
        .unwrap();
    sum(store).await;

    let before = now() - SignedDuration::from_hours(24 * 10);
    drop_before(store, before).await;

    let statistics = statistics(store, "a", last_days(), 10).await;
    assert_eq!(statistics.total.clicks, 1);
    assert_eq!(statistics.values(Dimension::Browser).next().unwrap().clicks, 1);
    assert_eq!(total(store, "a").await, 2);
}

async fn expired_links_are_purged_with_their_sums(store: &dyn Store) {
    let expired = Link {
        expires_at: Some(now() - SignedDuration::from_hours(48)),
        ..link("expired")
    };
    let lately = Link {
        expires_at: Some(now() - SignedDuration::from_hours(1)),
        ..link("lately")
    };
    for link in [&expired, &lately, &link("lasting")] {
        store.insert_link(link, &Actor::Admin).await.unwrap();
    }
    store
        .record_clicks(&batch(vec![click("expired", now())]))
        .await
        .unwrap();
    sum(store).await;

    let before = now() - SignedDuration::from_hours(24);
    let purged = store.keep_house(Chore::PurgeLinks(before)).await.unwrap();

    assert_eq!(purged, 1);
    assert_eq!(store.link(&expired.slug).await.unwrap(), None);
    assert!(store.link(&lately.slug).await.unwrap().is_some());
    assert!(store.link(&slug("lasting")).await.unwrap().is_some());
    assert!(store.keep_house(Chore::DropRemains).await.unwrap() > 0);
    assert_eq!(store.keep_house(Chore::DropRemains).await.unwrap(), 0);
}

async fn chores_can_be_done_by_many_at_once(store: &dyn Store) {
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    let far = now() + SignedDuration::from_hours(24 * 3650);
    store
        .record_clicks(&batch(vec![click("a", now())]))
        .await
        .unwrap();
    let chores = [
        Chore::SumValues,
        Chore::MakePartitions(far),
        Chore::DropClicks(now() - SignedDuration::from_hours(24)),
        Chore::DropHours(now() - SignedDuration::from_hours(24)),
        Chore::DropValues(now() - SignedDuration::from_hours(24)),
        Chore::DropRemains,
        Chore::ForgetVisitors(day_of(now())),
        Chore::ForgetBatches(now()),
        Chore::ForgetAnswers(now()),
    ];
    for chore in chores {
        for _ in 0..8 {
            for result in join_all((0..3).map(|_| store.keep_house(chore))).await {
                result.unwrap();
            }
        }
        assert_eq!(store.keep_house(chore).await.unwrap(), 0, "{chore:?}");
    }
    store.record_clicks(&batch(vec![click("a", far)])).await.unwrap();
    assert_eq!(total(store, "a").await, 2);
}

async fn a_batch_without_clicks_takes_its_id(store: &dyn Store) {
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    let batch = batch(vec![click("a", now())]);
    let without = ClickBatch {
        clicks: Vec::new(),
        ..ClickBatch::clone(&batch)
    };

    assert!(store.record_clicks(&Arc::new(without.clone())).await.unwrap());

    assert!(!store.record_clicks(&batch).await.unwrap());
    assert!(!store.record_clicks(&Arc::new(without)).await.unwrap());
    assert_eq!(total(store, "a").await, 0);
}

async fn values_that_do_not_fit_are_refused_for_good(store: &dyn Store) {
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    store.insert_link(&link("b"), &Actor::Admin).await.unwrap();
    let long = Click {
        referrer: "x".repeat(300).into(),
        ..click("b", now())
    };
    let whole = batch(vec![click("a", now()), long]);

    let result = store.record_clicks(&whole).await;

    assert!(matches!(result, Err(StoreError::Refused(_))), "{result:?}");
    assert_eq!((total(store, "a").await, total(store, "b").await), (0, 0));
    let half = ClickBatch {
        clicks: whole.clicks[..1].to_vec(),
        ..ClickBatch::clone(&whole)
    };
    assert!(
        store.record_clicks(&Arc::new(half)).await.unwrap(),
        "the id was not given back"
    );
}

async fn a_closed_store_takes_no_clicks(store: &dyn Store) {
    store.close().await;

    let result = store.record_clicks(&batch(vec![click("a", now())])).await;

    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
}

/// A click whose month nobody made a partition for is kept, and moves to it when somebody does.
#[tokio::test]
async fn clicks_wait_for_their_partition() {
    let database = db::TestDatabase::postgres().await;
    let store = database.store().await;
    store.insert_link(&link("a"), &Actor::Admin).await.unwrap();
    let far: Timestamp = "2036-05-06T07:08:09Z".parse().unwrap();
    let alike = Click {
        number: 7,
        ..click("a", far)
    };
    store.record_clicks(&batch(vec![alike])).await.unwrap();
    let client = database.connect().await;
    let count = async |table: &str| -> i64 {
        let sql = format!("SELECT coalesce(sum(number), 0) FROM {table}");
        client.query_one(&sql, &[]).await.unwrap().get(0)
    };
    assert_eq!(count("clicks_default").await, 7);

    while store.keep_house(Chore::MakePartitions(far)).await.unwrap() > 0 {}

    assert_eq!(count("clicks_default").await, 0);
    assert_eq!(count("clicks_203605").await, 7);
    assert_eq!(count("clicks_203607").await, 0);
    let much_later = far + Duration::from_secs(86_400 * 60);
    drop_before(store.as_ref(), much_later).await;
    assert_eq!(count("clicks").await, 0);
    let dropped: bool = client
        .query_one("SELECT to_regclass('clicks_203605') IS NULL", &[])
        .await
        .unwrap()
        .get(0);
    assert!(dropped, "the partition is still there");
    store.close().await;
}
