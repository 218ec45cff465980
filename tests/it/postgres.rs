//! What only a server does: it restarts, fails over, and changes its tables.

use curtail::domain::Actor;
use std::time::{Duration, Instant};

use curtail::store::{Arrival, Candidate, Rules, StoreError};
use futures_util::future::join_all;

use crate::db::TestDatabase;
use crate::migrate::wait_until_locked;
use crate::redis_nodes::eventually;
use crate::store_suite::{link, slug};

#[tokio::test]
async fn a_read_survives_the_end_of_its_session() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 1;
    let store = database.store().await;
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    let admin = database.connect().await;

    for _ in 0..5 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
        let ended: i64 = admin.query_one(sql, &[&database.name()]).await.unwrap().get(0);
        assert_eq!(ended, 1);

        let found = store.redirect(&slug("kept")).await;

        assert!(matches!(found, Ok(Some(_))), "{found:?}");
    }
    store.close().await;
}

/// A changed column type once broke a statement for as long as its connection lived.
#[tokio::test]
async fn a_changed_column_type_is_noticed_once() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 1;
    let store = database.store().await;
    let mut link = link("kept");
    link.revision = store.insert_link(&link, &Actor::Admin).await.unwrap();
    store.link(&link.slug).await.unwrap();
    let alter = "ALTER TABLE links ALTER COLUMN title TYPE varchar(200)";
    database.connect().await.batch_execute(alter).await.unwrap();

    let found = store.link(&link.slug).await;

    assert_eq!(found.unwrap(), Some(link));
    store.close().await;
}

#[tokio::test]
async fn a_standby_reads_and_refuses_writes() {
    let mut database = TestDatabase::postgres().await;
    database.store().await.close().await;
    let section = database.postgres_section();
    let url = curtail::config::ExposeSecret::expose_secret(&section.url)
        .replace("options=", "options=-c%20default_transaction_read_only%3Don%20");
    section.url = url.into();
    let store = curtail::store::open(&database.section).await.unwrap();

    let read = store.redirect(&slug("absent")).await;
    let write = store.insert_link(&link("new"), &Actor::Admin).await;

    assert!(matches!(read, Ok(None)), "{read:?}");
    assert!(
        matches!(&write, Err(StoreError::Unavailable(cause)) if cause.to_string().starts_with("25006")),
        "{write:?}"
    );
    store.close().await;
}

/// An abandoned statement once made the next one on its connection wait for its end.
#[tokio::test]
async fn a_dropped_read_does_not_hold_up_the_next() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 1;
    let store = database.store().await;
    let mut blocker = database.connect().await;
    store.check().await.unwrap();
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();

    let absent = slug("absent");
    let abandoned = tokio::select! {
        result = store.redirect(&absent) => Some(result),
        () = wait_until_locked(&database, true) => None,
    };
    let begun = Instant::now();
    let next = store.check().await;
    let took = begun.elapsed();

    assert!(abandoned.is_none(), "{abandoned:?}");
    assert!(next.is_ok(), "{next:?}");
    assert!(took < Duration::from_millis(400), "{took:?}");
    lock.rollback().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_read_that_cannot_go_on_is_unavailable_within_its_limit() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let mut blocker = database.connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();

    let begun = Instant::now();
    let result = store.redirect(&slug("absent")).await;
    let took = begun.elapsed();

    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    lock.rollback().await.unwrap();
    assert!(matches!(store.redirect(&slug("absent")).await, Ok(None)));
    store.close().await;
}

/// The web server's workers have runtimes of their own. A connection that one of them opened once ended with
/// it, although the pool kept it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_the_runtime_that_first_used_it() {
    const SESSIONS: &str = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";

    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 1;
    let store = database.store().await;
    let worker = std::sync::Arc::clone(&store);

    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(worker.check()).unwrap();
    })
    .join()
    .unwrap();
    let admin = database.connect().await;
    let name = database.name();
    let sessions = async || -> Vec<i32> {
        let rows = admin.query(SESSIONS, &[&name]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    // That of the migration may be about to end.
    eventually("one session is left", async || sessions().await.len() == 1).await;
    let before = sessions().await;
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();

    assert_eq!(sessions().await, before);
    store.close().await;
}

/// An import once inserted in the order of its file. Beside a bulk create of the same slugs, each waited for the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn imports_and_bulk_creates_of_the_same_slugs_do_not_deadlock() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    for round in 0..10 {
        let links: Vec<_> = (0..400)
            .map(|number| link(&format!("l{round}-{number}")))
            .collect();
        let candidates: Vec<Candidate> = links
            .iter()
            .map(|link| Candidate {
                link: link.clone(),
                chosen: true,
                reuse: false,
            })
            .collect();
        let arrivals: Vec<Arrival> = links
            .iter()
            .rev()
            .map(|link| Arrival {
                link: link.clone(),
                dated: true,
            })
            .collect();
        let rules = Rules::default();

        let imports = join_all((0..3).map(|_| store.take_links(&arrivals, &rules, &Actor::Admin)));
        let creates = join_all((0..3).map(|_| store.insert_links(&candidates, None, &Actor::Admin)));
        let (imports, creates) = tokio::join!(imports, creates);

        let failed = imports.into_iter().filter_map(Result::err);
        let failed: Vec<_> = failed
            .chain(creates.into_iter().filter_map(Result::err))
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
    let links: i64 = database
        .connect()
        .await
        .query_one("SELECT count(*) FROM links", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(links, 4000);
    store.close().await;
}
