//! Recorded changes: written with each change, read by caches and by the audit list. Run for each store.

use std::sync::Arc;

use curtail::domain::{
    Actor, AuditPage, AuditQuery, AuditRecord, ChangeKind, Clock, Key, KeyId, Link, LinkChange, Rank,
    Revision, Scope, Selection, SystemClock,
};
use curtail::store::{Answer, Arrival, Candidate, Chore, Once, Rules, Store, StoreError};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::store_suite::{for_every_store, full_link, link, slug};

for_every_store! {
    every_change_of_a_link_is_recorded_with_its_actor
    every_change_of_a_key_is_recorded_with_its_actor
    links_of_a_bulk_request_are_recorded_one_by_one
    links_that_are_created_together_keep_their_actors
    imported_links_are_recorded_as_what_happened_to_them
    what_was_refused_is_not_recorded
    a_purged_link_is_recorded
    changes_are_read_by_their_time_but_for_new_links
    one_page_of_records_follows_the_other
    records_are_filtered
    a_page_that_finds_nothing_ends_within_its_bound
    old_records_are_deleted
}

fn key_of(id: &str) -> Key {
    Key {
        id: id.parse().unwrap(),
        name: "n".to_owned(),
        scopes: vec![Scope::LinksRead],
        own_links_only: false,
        expires_at: None,
        created_at: SystemClock.now(),
        last_used_at: None,
    }
}

fn holder(id: &str) -> Actor {
    Actor::Key(id.parse().unwrap())
}

fn owned(name: &str, owner: Option<&str>) -> Link {
    Link {
        owner: owner.map(|id| id.parse().unwrap()),
        ..link(name)
    }
}

fn candidate(link: Link) -> Candidate {
    Candidate {
        link,
        chosen: true,
        reuse: false,
    }
}

fn query() -> AuditQuery {
    AuditQuery {
        limit: 200,
        ..AuditQuery::default()
    }
}

/// What was recorded, oldest first, without the times.
async fn recorded(store: &dyn Store) -> Vec<(ChangeKind, String, Option<Revision>, Actor)> {
    let page = store.audit(&query()).await.unwrap();
    assert_eq!(page.next, None);
    let subject = |record: &AuditRecord| {
        let slug = record.slug.as_ref().map(ToString::to_string);
        slug.or_else(|| record.key_id.as_ref().map(KeyId::to_string))
            .unwrap()
    };
    let mut all: Vec<_> = page
        .records
        .iter()
        .map(|record| {
            (
                record.kind,
                subject(record),
                record.revision,
                record.actor.clone(),
            )
        })
        .collect();
    all.reverse();
    all
}

async fn every_change_of_a_link_is_recorded_with_its_actor(store: &dyn Store) {
    let began = SystemClock.now();
    let mut one = link("one");
    let created = store.insert_link(&one, &Actor::Anonymous).await.unwrap();
    one.revision = created;
    let updated = store
        .update_link(&one, ChangeKind::LinkUpdated, &holder("k1"))
        .await
        .unwrap();
    let now = SystemClock.now();
    let named = |disabled| Selection {
        slugs: Some(vec![slug("one")]),
        disabled,
        ..Selection::default()
    };
    let disabled = store
        .toggle_links(&named(false), &[slug("one")], now, &Actor::Admin)
        .await
        .unwrap();
    let enabled = store
        .toggle_links(&named(true), &[slug("one")], now, &Actor::Admin)
        .await
        .unwrap();
    let set_aside = store
        .set_link_aside(&slug("one"), None, None, now, &Actor::Admin)
        .await
        .unwrap();
    let restored = store
        .restore_link(&slug("one"), None, now, &Actor::Admin)
        .await
        .unwrap()
        .unwrap();
    let deleted = store
        .delete_link(&slug("one"), None, None, &Actor::Admin)
        .await
        .unwrap();
    let ended = SystemClock.now();

    let [disabled, enabled] = [disabled, enabled].map(|links| links[0].revision);
    assert!(created < updated && updated < disabled && disabled < enabled && enabled < restored.revision);
    let [set_aside, deleted] = [set_aside, deleted].map(Option::unwrap);
    assert!(enabled < set_aside && set_aside < restored.revision && restored.revision < deleted);
    let expected = [
        (ChangeKind::LinkCreated, created, Actor::Anonymous),
        (ChangeKind::LinkUpdated, updated, holder("k1")),
        (ChangeKind::LinkDisabled, disabled, Actor::Admin),
        (ChangeKind::LinkEnabled, enabled, Actor::Admin),
        (ChangeKind::LinkDeleted, set_aside, Actor::Admin),
        (ChangeKind::LinkRestored, restored.revision, Actor::Admin),
        (ChangeKind::LinkDeleted, deleted, Actor::Admin),
    ];
    let expected = expected.map(|(kind, revision, actor)| (kind, "one".to_owned(), Some(revision), actor));
    assert_eq!(recorded(store).await, expected);
    // The database under test has the clock of this machine.
    let page = store.audit(&query()).await.unwrap();
    assert!(
        page.records
            .iter()
            .all(|record| (began..=ended).contains(&record.changed_at))
    );
    assert!(
        page.records
            .is_sorted_by(|newer, older| newer.changed_at >= older.changed_at)
    );
}

async fn every_change_of_a_key_is_recorded_with_its_actor(store: &dyn Store) {
    let key = key_of("a1");
    store.insert_key(&key, &[1; 32], &Actor::Operator).await.unwrap();
    store.touch_key(&key.id, SystemClock.now()).await.unwrap();

    assert!(store.delete_key(&key.id, &holder("b2")).await.unwrap());
    assert!(!store.delete_key(&key.id, &holder("b2")).await.unwrap());

    let expected = [
        (ChangeKind::KeyCreated, "a1".to_owned(), None, Actor::Operator),
        (ChangeKind::KeyRevoked, "a1".to_owned(), None, holder("b2")),
    ];
    assert_eq!(recorded(store).await, expected);
    let read = store.changes_since(Timestamp::UNIX_EPOCH, 10).await.unwrap();
    assert_eq!((read.changes, read.complete), (Vec::new(), true));
}

async fn links_of_a_bulk_request_are_recorded_one_by_one(store: &dyn Store) {
    store.insert_link(&link("taken"), &Actor::Admin).await.unwrap();
    let names = ["b", "taken", "a"];
    let candidates: Vec<_> = names
        .iter()
        .map(|name| candidate(owned(name, Some("k1"))))
        .collect();
    let once = Once {
        caller: "key:k1".to_owned(),
        key: "name".to_owned(),
        request: [7; 32],
        now: SystemClock.now(),
        expires_at: SystemClock.now() + SignedDuration::from_hours(1),
        render: Arc::new(|_| {
            Some(Answer {
                status: 200,
                location: None,
                body: Vec::new(),
            })
        }),
    };

    store
        .insert_links(&candidates, Some(&once), &holder("k1"))
        .await
        .unwrap();
    store
        .insert_links(&candidates, Some(&once), &holder("k1"))
        .await
        .unwrap();
    store
        .insert_links(&[candidate(link("c"))], None, &Actor::Anonymous)
        .await
        .unwrap();

    let mut found = recorded(store).await;
    found[1..3].sort_by(|one, other| one.1.cmp(&other.1));
    let short: Vec<_> = found
        .iter()
        .map(|(kind, slug, _, actor)| (*kind, &**slug, actor.clone()))
        .collect();
    let expected = [
        (ChangeKind::LinkCreated, "taken", Actor::Admin),
        (ChangeKind::LinkCreated, "a", holder("k1")),
        (ChangeKind::LinkCreated, "b", holder("k1")),
        (ChangeKind::LinkCreated, "c", Actor::Anonymous),
    ];
    assert_eq!(short, expected);
    for (_, name, revision, _) in &found {
        let kept = store.link(&slug(name)).await.unwrap().unwrap();
        assert_eq!(Some(kept.revision), *revision, "{name}");
    }
}

/// Creates that wait for a connection share a statement.
async fn links_that_are_created_together_keep_their_actors(store: &dyn Store) {
    let actors = [Actor::Admin, Actor::Anonymous, holder("k1"), holder("k2")];
    let links: Vec<_> = (0..100)
        .map(|number| {
            let actor = &actors[number % actors.len()];
            let owner = actor.key_id().map(KeyId::as_str);
            (owned(&format!("together-{number}"), owner), actor)
        })
        .collect();

    join_all(links.iter().map(|(link, actor)| store.insert_link(link, actor))).await;

    let found = recorded(store).await;
    assert_eq!(found.len(), links.len());
    for (link, actor) in &links {
        let of_link: Vec<_> = found
            .iter()
            .filter(|(_, slug, ..)| *slug == link.slug.to_string())
            .collect();
        assert_eq!(of_link.len(), 1, "{}", link.slug);
        assert_eq!(of_link[0].3, **actor, "{}", link.slug);
    }
}

async fn imported_links_are_recorded_as_what_happened_to_them(store: &dyn Store) {
    let arrival = |link| Arrival { link, dated: true };
    let rules = Rules {
        held_to: None,
        overwrite: true,
        history: true,
    };
    let first = [arrival(owned("new", Some("k1"))), arrival(link("other"))];
    store.take_links(&first, &rules, &Actor::Operator).await.unwrap();
    let mut disabled = full_link("other");
    disabled.disabled = true;

    let second = [arrival(owned("new", Some("k1"))), arrival(disabled.clone())];
    store.take_links(&second, &rules, &Actor::Admin).await.unwrap();
    disabled.title = Some("another".to_owned());
    store
        .take_links(&[arrival(disabled)], &rules, &Actor::Admin)
        .await
        .unwrap();

    let mut found = recorded(store).await;
    found[..2].sort_by(|one, other| one.1.cmp(&other.1));
    let short: Vec<_> = found
        .iter()
        .map(|(kind, slug, _, actor)| (*kind, &**slug, actor.clone()))
        .collect();
    let expected = [
        (ChangeKind::LinkCreated, "new", Actor::Operator),
        (ChangeKind::LinkCreated, "other", Actor::Operator),
        (ChangeKind::LinkDisabled, "other", Actor::Admin),
        (ChangeKind::LinkUpdated, "other", Actor::Admin),
    ];
    assert_eq!(short, expected);
    let kept = store.link(&slug("other")).await.unwrap().unwrap();
    assert_eq!(found[3].2, Some(kept.revision));
}

async fn what_was_refused_is_not_recorded(store: &dyn Store) {
    let mut kept = link("kept");
    kept.revision = store.insert_link(&kept, &Actor::Admin).await.unwrap();
    let stale = Link {
        revision: Revision::new(1),
        ..kept.clone()
    };
    let other: KeyId = "k9".parse().unwrap();

    let taken = store.insert_link(&kept, &Actor::Admin).await;
    let conflict = store
        .update_link(&stale, ChangeKind::LinkUpdated, &Actor::Admin)
        .await;
    let deleted = store
        .delete_link(&kept.slug, Some(&other), None, &Actor::Admin)
        .await;
    let aside = store
        .set_link_aside(&kept.slug, Some(&other), None, SystemClock.now(), &Actor::Admin)
        .await;

    assert!(matches!(taken, Err(StoreError::SlugTaken)), "{taken:?}");
    assert!(matches!(conflict, Err(StoreError::Conflict)), "{conflict:?}");
    assert_eq!((deleted.unwrap(), aside.unwrap()), (None, None));
    assert_eq!(recorded(store).await.len(), 1);
}

async fn a_purged_link_is_recorded(store: &dyn Store) {
    let now = SystemClock.now();
    let old = Link {
        expires_at: Some(now - SignedDuration::from_hours(2)),
        ..link("old")
    };
    let revision = store.insert_link(&old, &Actor::Admin).await.unwrap();

    let purged = store
        .keep_house(Chore::PurgeLinks(now - SignedDuration::from_hours(1)))
        .await;

    assert_eq!(purged.unwrap(), 1);
    let (kind, name, purge, actor) = recorded(store).await.pop().unwrap();
    assert_eq!(
        (kind, name.as_str(), actor),
        (ChangeKind::LinkPurged, "old", Actor::System)
    );
    let purge = purge.unwrap();
    assert!(purge > revision);
    let read = store.changes_since(Timestamp::UNIX_EPOCH, 10).await.unwrap();
    let versions: Vec<_> = read.changes.iter().map(|change| change.version).collect();
    assert_eq!(versions, [Rank::of_deletion(purge)]);
}

async fn changes_are_read_by_their_time_but_for_new_links(store: &dyn Store) {
    let empty = store.changes_since(Timestamp::UNIX_EPOCH, 3).await.unwrap();
    let mut links = Vec::new();
    for name in ["a", "b", "c"] {
        let mut link = link(name);
        link.revision = store.insert_link(&link, &Actor::Admin).await.unwrap();
        links.push(link);
    }
    let only_new = store.changes_since(Timestamp::UNIX_EPOCH, 3).await.unwrap();
    let mut expected = Vec::new();
    for link in &mut links {
        link.revision = store
            .update_link(link, ChangeKind::LinkDisabled, &Actor::Admin)
            .await
            .unwrap();
        expected.push((
            link.slug.clone(),
            Rank::of_link(link.revision),
            ChangeKind::LinkDisabled,
        ));
    }

    let all = store.changes_since(Timestamp::UNIX_EPOCH, 3).await.unwrap();
    let two = store.changes_since(Timestamp::UNIX_EPOCH, 2).await.unwrap();
    let since = store.changes_since(all.changes[1].changed_at, 3).await.unwrap();
    let none = store
        .changes_since(all.now + SignedDuration::from_secs(1), 3)
        .await
        .unwrap();

    for (page, complete) in [(&empty, true), (&only_new, true), (&none, true)] {
        assert_eq!((page.changes.len(), page.complete), (0, complete));
        let off = page.now.duration_since(SystemClock.now()).abs();
        assert!(off < SignedDuration::from_secs(60), "{off:?}");
    }
    let short = |changes: &[LinkChange]| -> Vec<_> {
        changes
            .iter()
            .map(|change| (change.slug.clone(), change.version, change.kind))
            .collect()
    };
    assert_eq!((short(&all.changes), all.complete), (expected.clone(), true));
    assert_eq!(
        (short(&two.changes), two.complete),
        (expected[..2].to_vec(), false)
    );
    assert_eq!(
        (short(&since.changes), since.complete),
        (expected[1..].to_vec(), true)
    );
    assert!(all.changes.iter().all(|change| change.changed_at <= all.now));
}

async fn page_after_page(store: &dyn Store, mut query: AuditQuery) -> (Vec<AuditRecord>, usize) {
    let (mut records, mut pages) = (Vec::new(), 0);
    loop {
        let AuditPage { records: some, next } = store.audit(&query).await.unwrap();
        assert!(some.len() <= usize::from(query.limit));
        records.extend(some);
        pages += 1;
        match next {
            None => return (records, pages),
            Some(next) => query.after = Some(next.to_string().parse().unwrap()),
        }
    }
}

async fn one_page_of_records_follows_the_other(store: &dyn Store) {
    let candidates: Vec<_> = (0..7)
        .map(|number| candidate(link(&format!("l{number}"))))
        .collect();
    store
        .insert_links(&candidates, None, &Actor::Admin)
        .await
        .unwrap();
    store
        .delete_link(&slug("l3"), None, None, &Actor::Admin)
        .await
        .unwrap();
    let whole = store.audit(&query()).await.unwrap().records;

    for limit in [1, 3, 4, 8] {
        let (records, pages) = page_after_page(store, AuditQuery { limit, ..query() }).await;

        assert_eq!(records, whole);
        assert_eq!(pages, 8_usize.div_ceil(usize::from(limit)));
    }
    let of_slug = AuditQuery {
        limit: 1,
        slug: Some(slug("l3")),
        ..query()
    };
    let (records, _) = page_after_page(store, of_slug).await;
    let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [ChangeKind::LinkDeleted, ChangeKind::LinkCreated]);
}

async fn records_are_filtered(store: &dyn Store) {
    let mut one = owned("one", Some("k1"));
    one.revision = store.insert_link(&one, &holder("k1")).await.unwrap();
    store.insert_link(&link("two"), &Actor::Admin).await.unwrap();
    store
        .update_link(&one, ChangeKind::LinkDisabled, &Actor::Admin)
        .await
        .unwrap();
    let all = store.audit(&query()).await.unwrap().records;
    let [disabled, two, created] = &*all else {
        panic!("{all:?}")
    };

    for (filter, expected) in [
        (
            AuditQuery {
                slug: Some(slug("one")),
                ..query()
            },
            vec![disabled, created],
        ),
        (
            AuditQuery {
                actor: Some(holder("k1")),
                ..query()
            },
            vec![created],
        ),
        (
            AuditQuery {
                actor: Some(Actor::Admin),
                ..query()
            },
            vec![disabled, two],
        ),
        (
            AuditQuery {
                kind: Some(ChangeKind::LinkCreated),
                ..query()
            },
            vec![two, created],
        ),
        (
            AuditQuery {
                since: Some(two.changed_at),
                ..query()
            },
            vec![disabled, two],
        ),
        (
            AuditQuery {
                until: Some(two.changed_at),
                ..query()
            },
            vec![created],
        ),
        (
            AuditQuery {
                slug: Some(slug("one")),
                actor: Some(Actor::Admin),
                ..query()
            },
            vec![disabled],
        ),
        (
            AuditQuery {
                kind: Some(ChangeKind::KeyRevoked),
                ..query()
            },
            vec![],
        ),
    ] {
        let page = store.audit(&filter).await.unwrap();

        assert_eq!(page.records.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(page.next, None);
    }
}

/// However many records there are, one page looks at a bounded number of them, and the next goes on from there.
async fn a_page_that_finds_nothing_ends_within_its_bound(store: &dyn Store) {
    store
        .insert_link(&link("first"), &Actor::Anonymous)
        .await
        .unwrap();
    for part in 0..44 {
        let candidates: Vec<_> = (0..250)
            .map(|number| candidate(link(&format!("l{part}-{number}"))))
            .collect();
        store
            .insert_links(&candidates, None, &Actor::Admin)
            .await
            .unwrap();
    }
    let rare = AuditQuery {
        actor: Some(Actor::Anonymous),
        ..query()
    };

    let first = store.audit(&rare).await.unwrap();
    let (records, pages) = page_after_page(store, rare).await;

    assert_eq!(first.records, []);
    assert!(first.next.is_some());
    assert_eq!(pages, 3);
    let slugs: Vec<_> = records.into_iter().map(|record| record.slug).collect();
    assert_eq!(slugs, [Some(slug("first"))]);
}

async fn old_records_are_deleted(store: &dyn Store) {
    for name in ["a", "b"] {
        store.insert_link(&link(name), &Actor::Admin).await.unwrap();
    }
    let newest = store.audit(&query()).await.unwrap().records[0].changed_at;

    let deleted = store.keep_house(Chore::DropChanges(newest)).await.unwrap();
    let again = store.keep_house(Chore::DropChanges(newest)).await.unwrap();

    assert_eq!((deleted, again), (1, 0));
    let left = store.audit(&query()).await.unwrap().records;
    assert_eq!(
        left.iter().map(|record| record.slug.clone()).collect::<Vec<_>>(),
        [Some(slug("b"))]
    );
}
