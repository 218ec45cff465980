//! Writes that go together: the locks that they take, and what becomes of a group that the server refuses.

use curtail::domain::{Actor, TargetPolicy, TargetUrl};
use curtail::store::{Candidate, StoreError};
use futures_util::future::{join, join_all};

use crate::db::TestDatabase;
use crate::migrate::wait_until_locked;
use crate::redis_nodes::eventually;
use crate::server::Server;
use crate::store_suite::link;

fn reusable(request: usize) -> Vec<Candidate> {
    let candidate = |number: usize| {
        let mut link = link(&format!("r{request}n{number}"));
        let target = format!("https://example.org/{request}/{number}");
        link.target = TargetUrl::parse(&target, &TargetPolicy::default()).unwrap();
        link.owner = Some(format!("owner{request:07}").parse().unwrap());
        Candidate {
            link,
            chosen: false,
            reuse: true,
        }
    };
    (0..1000).map(candidate).collect()
}

/// A bulk request once took a lock for each of its targets: thirteen at once used up the lock table of a server with 100
/// connections, and whoever asked for any lock next was refused.
#[tokio::test]
async fn bulk_requests_do_not_use_up_the_lock_table() {
    let server = Server::start_with(&[], &["max_connections = 25"]).await;
    let mut postgres = crate::db::postgres_at(&server.url("db"));
    postgres.pool_size = 72;
    let section = curtail::config::Store {
        kind: curtail::config::StoreKind::Postgres(postgres),
        migrate_on_start: false,
    };
    curtail::store::migrate(&section).await.unwrap();
    let store = curtail::store::open(&section).await.unwrap();
    let (mut blocker, watcher) = (
        crate::db::connect(&server.plain_url()).await,
        crate::db::connect(&server.plain_url()).await,
    );
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();

    let requests: Vec<_> = (0..30).map(reusable).collect();
    let requests = join_all(
        requests
            .iter()
            .map(|request| store.insert_links(request, None, &Actor::Admin)),
    );
    let held = async || -> (i64, i64) {
        let sql =
            "SELECT count(*), count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted";
        let row = watcher.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    let (results, (locks, holders)) = join(requests, async {
        eventually("many requests hold their locks", async || held().await.1 >= 4).await;
        held().await
    })
    .await;

    assert!(locks <= holders * 16, "{locks} locks of {holders}");
    for result in results {
        let text = result.map_or_else(|err| err.to_string(), |_| String::new());
        assert!(!text.contains("53200"), "{text}");
    }
    lock.rollback().await.unwrap();
    store.close().await;
}

/// A group that the server gave up on for its time was once followed by an insert for each of its links, for callers who
/// had left: the links appeared minutes after their callers had read 503.
#[tokio::test]
async fn a_group_that_ran_out_of_time_is_not_tried_one_by_one() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 4;
    let store = database.store().await;
    let mut blocker = database.connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE links IN SHARE MODE")
        .await
        .unwrap();

    let links: Vec<_> = (0..12).map(|number| link(&format!("late{number}"))).collect();
    let results = join_all(links.iter().map(|link| store.insert_link(link, &Actor::Admin))).await;
    wait_until_locked(&database, false).await;
    lock.rollback().await.unwrap();
    store.insert_link(&link("next"), &Actor::Admin).await.unwrap();

    for result in results {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
    let kept = blocker.query("SELECT slug FROM links", &[]).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    store.close().await;
}

/// Links of one group were once numbered by the alphabet.
#[tokio::test]
async fn links_of_a_group_are_numbered_as_they_came() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 4;
    let store = database.store().await;
    let mut blocker = database.connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE links IN SHARE MODE")
        .await
        .unwrap();

    let slugs = ["first", "z", "m", "a", "q"];
    let links: Vec<_> = slugs.iter().map(|slug| link(slug)).collect();
    let inserts = join_all(links.iter().map(|link| store.insert_link(link, &Actor::Admin)));
    let (results, ()) = join(inserts, async {
        wait_until_locked(&database, true).await;
        lock.rollback().await.unwrap();
    })
    .await;

    for result in results {
        result.unwrap();
    }
    let rows = blocker
        .query("SELECT slug FROM links ORDER BY id", &[])
        .await
        .unwrap();
    let kept: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(kept, slugs);
    store.close().await;
}
