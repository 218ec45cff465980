//! What every store does, run for each of them.

use curtail::domain::{
    Actor, ChangeKind, Clock, Link, RedirectStatus, Revision, Slug, SystemClock, TargetPolicy, TargetUrl,
};
use curtail::store::{ClickGrant, Store, StoreError};
use futures_util::future::join_all;
use jiff::Timestamp;
use std::time::Duration;

/// Of whatever link has a slug now.
pub const LATEST: Revision = Revision::new(i64::MAX);

pub fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

pub fn link(name: &str) -> Link {
    let now = Timestamp::from_microsecond(1_795_226_400_123_456).unwrap();
    Link {
        slug: slug(name),
        revision: Revision::new(0),
        target: TargetUrl::parse("https://example.org/", &TargetPolicy::default()).unwrap(),
        title: None,
        tags: Vec::new(),
        redirect_status: RedirectStatus::Found,
        cache_seconds: None,
        forward_query: false,
        valid_from: None,
        expires_at: None,
        max_clicks: None,
        disabled: false,
        clicks: 0,
        created_at: now,
        updated_at: now,
        owner: None,
    }
}

pub fn full_link(name: &str) -> Link {
    Link {
        target: TargetUrl::parse("https://example.org/a?b=ü#c", &TargetPolicy::default()).unwrap(),
        title: Some("Grüße, \u{1F600} 'quoted' \"twice\" \\ \u{7}".to_owned()),
        tags: vec!["ä,{}\"\\".to_owned(), "NULL".to_owned(), String::new()],
        redirect_status: RedirectStatus::Permanent,
        cache_seconds: Some(31_536_000),
        forward_query: true,
        valid_from: Some(Timestamp::UNIX_EPOCH),
        expires_at: Some(Timestamp::from_microsecond(253_402_207_199_999_999).unwrap()),
        max_clicks: Some(i64::MAX),
        disabled: true,
        clicks: 41,
        owner: Some("a1B2c3D4e5F6".parse().unwrap()),
        ..link(name)
    }
}

/// Runs each named test with a fresh store of each kind.
macro_rules! for_every_store {
    ($($name:ident)*) => {
        $crate::store_suite::for_every_store!(@kind postgres: $($name)*);
        $crate::store_suite::for_every_store!(@kind postgres_behind_pooler: $($name)*);
        $crate::store_suite::for_every_store!(@kind sqlite: $($name)*);
    };
    (@kind $kind:ident: $($name:ident)*) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $name() {
                    let database = crate::db::TestDatabase::$kind().await;
                    let store = database.store().await;

                    super::$name(&*store).await;

                    store.close().await;
                }
            )*
        }
    };
}

pub(crate) use for_every_store;

for_every_store! {
    every_field_is_read_back
    an_empty_link_is_read_back
    an_absent_link_is_none
    a_taken_slug_is_refused
    of_two_inserts_of_one_slug_one_succeeds
    of_many_inserts_at_once_only_the_faulty_ones_fail
    slugs_are_case_sensitive
    an_update_writes_every_field_but_slug_clicks_and_creation
    an_update_of_another_revision_is_a_conflict
    of_two_updates_of_one_revision_one_succeeds
    revisions_grow_over_all_links
    a_deleted_link_is_gone_and_its_revision_answered
    a_link_made_again_has_a_higher_revision
    clicks_are_granted_up_to_the_limit_exactly
    clicks_are_granted_to_limited_enabled_links_alone
    a_click_leaves_the_revision
    what_breaks_a_promise_of_the_domain_is_refused
    a_ready_store_passes_its_check
    an_abandoned_operation_leaves_the_store_usable
    a_closed_store_is_unavailable
}

async fn every_field_is_read_back(store: &dyn Store) {
    let mut expected = full_link("all_fields-1");

    expected.revision = store.insert_link(&expected, &Actor::Admin).await.unwrap();

    assert_eq!(
        store.link(&expected.slug).await.unwrap().as_ref(),
        Some(&expected)
    );
    assert_eq!(
        store.redirect(&expected.slug).await.unwrap(),
        Some(expected.redirect())
    );
}

async fn an_empty_link_is_read_back(store: &dyn Store) {
    let mut expected = link("a");

    expected.revision = store.insert_link(&expected, &Actor::Admin).await.unwrap();

    assert_eq!(
        store.link(&expected.slug).await.unwrap().as_ref(),
        Some(&expected)
    );
    assert_eq!(
        store.redirect(&expected.slug).await.unwrap(),
        Some(expected.redirect())
    );
}

async fn an_absent_link_is_none(store: &dyn Store) {
    assert_eq!(store.link(&slug("absent")).await.unwrap(), None);
    assert_eq!(store.redirect(&slug("absent")).await.unwrap(), None);
    assert_eq!(
        store
            .delete_link(&slug("absent"), None, None, &Actor::Admin)
            .await
            .unwrap(),
        None
    );
}

async fn a_taken_slug_is_refused(store: &dyn Store) {
    let first = full_link("taken");
    store.insert_link(&first, &Actor::Admin).await.unwrap();

    let second = store.insert_link(&link("taken"), &Actor::Admin).await;

    assert!(matches!(second, Err(StoreError::SlugTaken)), "{second:?}");
    assert_eq!(store.link(&first.slug).await.unwrap().unwrap().title, first.title);
}

async fn of_two_inserts_of_one_slug_one_succeeds(store: &dyn Store) {
    for round in 0..10 {
        let link = link(&format!("raced-{round}"));

        let results = join_all((0..4).map(|_| store.insert_link(&link, &Actor::Admin))).await;

        assert_eq!(
            results.iter().filter(|result| result.is_ok()).count(),
            1,
            "{results:?}"
        );
        let taken = results
            .iter()
            .filter(|result| matches!(result, Err(StoreError::SlugTaken)));
        assert_eq!(taken.count(), 3, "{results:?}");
    }
}

/// They may share a statement, and its fate.
async fn of_many_inserts_at_once_only_the_faulty_ones_fail(store: &dyn Store) {
    let broken = Link {
        title: Some("x".repeat(201)),
        ..link("broken")
    };
    let taken = link("taken");
    store.insert_link(&taken, &Actor::Admin).await.unwrap();
    let good: Vec<Link> = (0..100).map(|number| link(&format!("good-{number}"))).collect();

    let all = good[..50].iter().chain([&broken, &taken]).chain(&good[50..]);
    let results = join_all(all.map(|link| store.insert_link(link, &Actor::Admin))).await;

    assert!(
        matches!(results[50], Err(StoreError::Unavailable(_))),
        "{results:?}"
    );
    assert!(matches!(results[51], Err(StoreError::SlugTaken)), "{results:?}");
    let revisions: Vec<_> = results.iter().flatten().collect();
    assert_eq!(revisions.len(), 100);
    for link in &good {
        let kept = store.link(&link.slug).await.unwrap().unwrap();
        assert_eq!(kept.target, link.target);
    }
}

async fn slugs_are_case_sensitive(store: &dyn Store) {
    store.insert_link(&link("Case"), &Actor::Admin).await.unwrap();
    store
        .insert_link(&full_link("case"), &Actor::Admin)
        .await
        .unwrap();

    let found = store.link(&slug("Case")).await.unwrap().unwrap();

    assert_eq!(found.slug, slug("Case"));
    assert_eq!(found.title, None);
    assert_eq!(store.link(&slug("CASE")).await.unwrap(), None);
}

async fn an_update_writes_every_field_but_slug_clicks_and_creation(store: &dyn Store) {
    let before = link("changing");
    let revision = store.insert_link(&before, &Actor::Admin).await.unwrap();
    let after = Link {
        revision,
        updated_at: Timestamp::from_microsecond(1_895_226_400_000_001).unwrap(),
        created_at: Timestamp::UNIX_EPOCH,
        ..full_link("changing")
    };

    let new = store
        .update_link(&after, ChangeKind::LinkUpdated, &Actor::Admin)
        .await
        .unwrap();

    assert!(new > revision);
    let expected = Link {
        revision: new,
        clicks: before.clicks,
        created_at: before.created_at,
        owner: before.owner,
        ..after
    };
    assert_eq!(store.link(&expected.slug).await.unwrap(), Some(expected));
}

async fn an_update_of_another_revision_is_a_conflict(store: &dyn Store) {
    let mut kept = link("contested");
    kept.revision = store.insert_link(&kept, &Actor::Admin).await.unwrap();
    let stale = Link {
        revision: Revision::new(kept.revision.get() + 1),
        ..full_link("contested")
    };

    let result = store
        .update_link(&stale, ChangeKind::LinkUpdated, &Actor::Admin)
        .await;
    let absent = store
        .update_link(
            &Link {
                revision: kept.revision,
                ..link("absent")
            },
            ChangeKind::LinkUpdated,
            &Actor::Admin,
        )
        .await;

    assert!(matches!(result, Err(StoreError::Conflict)), "{result:?}");
    assert!(matches!(absent, Err(StoreError::Conflict)), "{absent:?}");
    assert_eq!(store.link(&kept.slug).await.unwrap(), Some(kept));
}

async fn of_two_updates_of_one_revision_one_succeeds(store: &dyn Store) {
    let mut link = link("raced");
    link.revision = store.insert_link(&link, &Actor::Admin).await.unwrap();

    let results =
        join_all((0..4).map(|_| store.update_link(&link, ChangeKind::LinkUpdated, &Actor::Admin))).await;

    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        1,
        "{results:?}"
    );
    let conflicts = results
        .iter()
        .filter(|result| matches!(result, Err(StoreError::Conflict)));
    assert_eq!(conflicts.count(), 3, "{results:?}");
}

async fn revisions_grow_over_all_links(store: &dyn Store) {
    let mut one = link("one");
    one.revision = store.insert_link(&one, &Actor::Admin).await.unwrap();
    let mut other = link("other");
    other.revision = store.insert_link(&other, &Actor::Admin).await.unwrap();

    let third = store
        .update_link(&one, ChangeKind::LinkUpdated, &Actor::Admin)
        .await
        .unwrap();
    let fourth = store
        .update_link(&other, ChangeKind::LinkUpdated, &Actor::Admin)
        .await
        .unwrap();

    assert!(Revision::new(0) < one.revision);
    assert!(one.revision < other.revision);
    assert!(other.revision < third);
    assert!(third < fourth);
}

async fn a_deleted_link_is_gone_and_its_revision_answered(store: &dyn Store) {
    let link = link("short-lived");
    let revision = store.insert_link(&link, &Actor::Admin).await.unwrap();

    let first = store
        .delete_link(&link.slug, None, None, &Actor::Admin)
        .await
        .unwrap();
    let second = store
        .delete_link(&link.slug, None, None, &Actor::Admin)
        .await
        .unwrap();

    assert!(first.unwrap() > revision);
    assert_eq!(second, None);
    assert_eq!(store.link(&link.slug).await.unwrap(), None);
}

async fn a_link_made_again_has_a_higher_revision(store: &dyn Store) {
    let link = link("again");
    let first = store.insert_link(&link, &Actor::Admin).await.unwrap();
    store
        .delete_link(&link.slug, None, None, &Actor::Admin)
        .await
        .unwrap();

    let second = store.insert_link(&link, &Actor::Admin).await.unwrap();

    assert!(second > first);
}

async fn clicks_are_granted_up_to_the_limit_exactly(store: &dyn Store) {
    let link = Link {
        max_clicks: Some(10),
        ..link("limited")
    };
    store.insert_link(&link, &Actor::Admin).await.unwrap();

    let results = join_all((0..50).map(|_| store.take_click(&link.slug, LATEST))).await;

    let granted = results
        .into_iter()
        .map(Result::unwrap)
        .filter(|grant| *grant == ClickGrant::Granted)
        .count();
    assert_eq!(granted, 10);
    assert_eq!(store.link(&link.slug).await.unwrap().unwrap().clicks, 10);
}

/// A link whose limit was removed, or that was deleted, answered "limit reached".
async fn clicks_are_granted_to_limited_enabled_links_alone(store: &dyn Store) {
    store
        .insert_link(&link("unlimited"), &Actor::Admin)
        .await
        .unwrap();
    store
        .insert_link(
            &Link {
                max_clicks: Some(9),
                disabled: true,
                ..link("disabled")
            },
            &Actor::Admin,
        )
        .await
        .unwrap();
    store
        .insert_link(
            &Link {
                max_clicks: Some(9),
                clicks: 9,
                ..link("used-up")
            },
            &Actor::Admin,
        )
        .await
        .unwrap();

    for (name, expected) in [
        ("unlimited", ClickGrant::NotLimited),
        ("disabled", ClickGrant::Gone),
        ("used-up", ClickGrant::UsedUp),
        ("absent", ClickGrant::Gone),
    ] {
        assert_eq!(
            store.take_click(&slug(name), LATEST).await.unwrap(),
            expected,
            "{name}"
        );
    }
}

async fn a_click_leaves_the_revision(store: &dyn Store) {
    let link = Link {
        max_clicks: Some(2),
        ..link("clicked")
    };
    let revision = store.insert_link(&link, &Actor::Admin).await.unwrap();

    assert_eq!(
        store.take_click(&link.slug, LATEST).await.unwrap(),
        ClickGrant::Granted
    );

    let expected = Link {
        revision,
        clicks: 1,
        ..link
    };
    assert_eq!(store.link(&expected.slug).await.unwrap(), Some(expected));
}

async fn what_breaks_a_promise_of_the_domain_is_refused(store: &dyn Store) {
    let early = Some(Timestamp::UNIX_EPOCH);
    let broken = [
        Link {
            title: Some("x".repeat(201)),
            ..link("broken")
        },
        Link {
            tags: vec!["x".to_owned(); 17],
            ..link("broken")
        },
        Link {
            cache_seconds: Some(u32::MAX),
            ..link("broken")
        },
        Link {
            valid_from: early,
            expires_at: early,
            ..link("broken")
        },
        Link {
            max_clicks: Some(0),
            ..link("broken")
        },
        Link {
            clicks: -1,
            ..link("broken")
        },
    ];
    for link in broken {
        let result = store.insert_link(&link, &Actor::Admin).await;

        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "{link:?}: {result:?}"
        );
        let text = result.unwrap_err().to_string();
        assert!(
            !text.contains("example.org"),
            "the error repeats the target: {text}"
        );
    }
}

async fn a_ready_store_passes_its_check(store: &dyn Store) {
    for _ in 0..2 {
        let time = store.check().await.unwrap();
        let off = time.map(|time| time.duration_since(SystemClock.now()).abs());
        // The database under test has the clock of this machine.
        assert!(off.is_none_or(|off| off.as_secs() < 5), "{off:?}");
    }
}

async fn an_abandoned_operation_leaves_the_store_usable(store: &dyn Store) {
    let kept = link("kept");
    store.insert_link(&kept, &Actor::Admin).await.unwrap();

    for round in 0..40 {
        let spare = link(&format!("spare-{round}"));
        let limit = Duration::from_micros(fastrand::u64(0..2000));
        let _ = tokio::time::timeout(limit, store.redirect(&kept.slug)).await;
        let _ = tokio::time::timeout(limit, store.insert_link(&spare, &Actor::Admin)).await;
    }

    // As many as there are connections for reads, since all of them may have to be opened first.
    let results = join_all((0..8).map(|_| store.redirect(&kept.slug))).await;
    assert!(
        results.iter().all(|result| matches!(result, Ok(Some(_)))),
        "{results:?}"
    );
    store.insert_link(&link("after"), &Actor::Admin).await.unwrap();
}

async fn a_closed_store_is_unavailable(store: &dyn Store) {
    let link = link("late");
    store.close().await;

    assert!(matches!(
        store.redirect(&link.slug).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.link(&link.slug).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.insert_link(&link, &Actor::Admin).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store
            .update_link(&link, ChangeKind::LinkUpdated, &Actor::Admin)
            .await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.delete_link(&link.slug, None, None, &Actor::Admin).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        store.take_click(&link.slug, LATEST).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));
}
