//! Migrations: once each, whoever runs them.

use std::sync::atomic::{AtomicBool, Ordering};

use curtail::config;
use curtail::domain::{Actor, Revision};
use curtail::store::{self, Chore, Migrated, Migration, SCHEMA_VERSION, StoreError};
use futures_util::future::join_all;
use tokio::time::{Duration, Instant, sleep};

use crate::clicks_suite::{batch, click};
use crate::db::TestDatabase;
use crate::store_suite::{link, slug};

#[tokio::test]
async fn an_empty_database_is_migrated_once_postgres() {
    an_empty_database_is_migrated_once(TestDatabase::postgres().await).await;
}

#[tokio::test]
async fn an_empty_database_is_migrated_once_postgres_behind_pooler() {
    an_empty_database_is_migrated_once(TestDatabase::postgres_behind_pooler().await).await;
}

#[tokio::test]
async fn an_empty_database_is_migrated_once_sqlite() {
    an_empty_database_is_migrated_once(TestDatabase::sqlite().await).await;
}

async fn an_empty_database_is_migrated_once(database: TestDatabase) {
    let first = store::migrate(&database.owner).await.unwrap();
    let second = store::migrate(&database.owner).await.unwrap();

    assert_eq!(
        first,
        Migrated {
            from: 0,
            to: SCHEMA_VERSION
        }
    );
    assert_eq!(
        second,
        Migrated {
            from: SCHEMA_VERSION,
            to: SCHEMA_VERSION
        }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_ten_migrators_one_migrates_postgres() {
    of_ten_migrators_one_migrates(TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_ten_migrators_one_migrates_sqlite() {
    of_ten_migrators_one_migrates(TestDatabase::sqlite().await).await;
}

async fn of_ten_migrators_one_migrates(database: TestDatabase) {
    let results = join_all((0..10).map(|_| store::migrate(&database.owner))).await;

    let migrated: Vec<Migrated> = results.into_iter().map(Result::unwrap).collect();
    assert!(
        migrated.iter().all(|migrated| migrated.to == SCHEMA_VERSION),
        "{migrated:?}"
    );
    assert_eq!(
        migrated.iter().filter(|migrated| migrated.from == 0).count(),
        1,
        "{migrated:?}"
    );
}

#[tokio::test]
async fn a_check_before_the_migration_names_both_versions() {
    let database = TestDatabase::postgres().await;
    let store = store::open(&database.section).await.unwrap();

    let before = store.check().await;
    store::migrate(&database.owner).await.unwrap();
    let after = store.check().await;

    assert!(
        matches!(
            before,
            Err(StoreError::Schema {
                found: 0,
                known: SCHEMA_VERSION
            })
        ),
        "{before:?}"
    );
    assert!(after.is_ok(), "{after:?}");
    store.close().await;
}

/// An instance that started without its database comes back to one that a newer build has migrated.
#[tokio::test]
async fn nothing_is_run_in_a_database_before_its_schema_is_known_to_fit() {
    let database = TestDatabase::postgres().await;
    database.migrate().await;
    let client = database.connect().await;
    client
        .batch_execute("INSERT INTO curtail_migrations (version, name) VALUES (1000, 'later')")
        .await
        .unwrap();
    let store = store::open(&database.section).await.unwrap();
    let actor = Actor::System;

    let refused = [
        store.redirect(&slug("x")).await.map(|_| ()),
        store.insert_link(&link("x"), &actor).await.map(|_| ()),
        store
            .delete_link(&slug("x"), None, None, &actor)
            .await
            .map(|_| ()),
        store.take_click(&slug("x"), Revision::new(1)).await.map(|_| ()),
        store
            .keep_house(Chore::MakePartitions(jiff::Timestamp::UNIX_EPOCH))
            .await
            .map(|_| ()),
        store.totals(None).await.map(|_| ()),
    ];
    let rows: i64 = client
        .query_one("SELECT count(*) FROM links", &[])
        .await
        .unwrap()
        .get(0);

    for result in refused {
        // A create has the words of the statement that it shared.
        let refused = result.unwrap_err().to_string();
        assert!(refused.contains("schema is version 1000"), "{refused}");
    }
    assert_eq!(rows, 0);
    store.close().await;
}

/// A migration runs before the deploy: the old build must go on, and start new instances, if it can work
/// with the newer schema.
async fn a_newer_schema_serves_if_it_says_so(database: TestDatabase, update: impl AsyncFn(&str)) {
    let store = database.store().await;
    update("INSERT INTO curtail_migrations (version, name) VALUES (1000, 'later')").await;

    let refused = [
        store.check().await,
        store::migrate(&database.owner).await.map(|_| None),
    ];
    update(&format!(
        "UPDATE curtail_migrations SET oldest_build = {SCHEMA_VERSION} WHERE version = 1000"
    ))
    .await;
    let accepted = store.check().await;
    let migrated = store::migrate(&database.owner).await;

    for result in refused {
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("1000") && text.contains(&format!("needs version {SCHEMA_VERSION}")),
            "{text}"
        );
    }
    assert!(accepted.is_ok(), "{accepted:?}");
    assert_eq!(migrated.unwrap(), Migrated { from: 1000, to: 1000 });
    store.close().await;
}

#[tokio::test]
async fn a_newer_postgres_schema_serves_if_it_says_so() {
    let database = TestDatabase::postgres().await;
    let client = database.connect().await;

    a_newer_schema_serves_if_it_says_so(database, async |sql| client.batch_execute(sql).await.unwrap()).await;
}

#[tokio::test]
async fn a_newer_sqlite_schema_serves_if_it_says_so() {
    let database = TestDatabase::sqlite().await;
    let config::StoreKind::Sqlite(path) = database.section.kind.clone() else {
        panic!("an SQLite file")
    };

    a_newer_schema_serves_if_it_says_so(database, async |sql| {
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_locked_table_is_waited_for_in_short_turns() {
    let database = TestDatabase::postgres().await;
    let mut blocker = database.connect().await;
    blocker
        .batch_execute("CREATE TABLE curtail_migrations (version bigint PRIMARY KEY, name text NOT NULL, oldest_build bigint)")
        .await
        .unwrap();
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE curtail_migrations IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();

    let release_after_one_turn = async {
        wait_until_locked(&database, true).await;
        wait_until_locked(&database, false).await;
        lock.commit().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(store::migrate(&database.owner), release_after_one_turn);

    assert_eq!(
        migrated.unwrap(),
        Migrated {
            from: 0,
            to: SCHEMA_VERSION
        }
    );
}

/// Asks the server until a session of the test waits for a lock, or none does. The server tells nobody of
/// itself.
pub async fn wait_until_locked(database: &TestDatabase, locked: bool) {
    let client = database.connect().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    loop {
        let waiting: i64 = client.query_one(sql, &[&database.name()]).await.unwrap().get(0);
        if (waiting > 0) == locked {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no session came to wait, or none stopped waiting"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// A migration of the kind that builds indexes while their table is in use.
const CONCURRENT: Migration = Migration {
    version: SCHEMA_VERSION + 1,
    name: "0002_later",
    sql: "-- concurrently
-- What they are for does not matter here.
CREATE INDEX CONCURRENTLY IF NOT EXISTS click_hours_later_idx ON click_hours (bots);
CREATE INDEX CONCURRENTLY IF NOT EXISTS links_later_idx ON links (created_at);
",
    oldest_build: SCHEMA_VERSION,
};

async fn migrate_concurrently(database: &TestDatabase) -> Result<Migrated, StoreError> {
    let config::StoreKind::Postgres(section) = &database.owner.kind else {
        panic!("an SQLite file")
    };
    store::migrate_further(section, &[CONCURRENT]).await
}

async fn valid_indexes(client: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_index WHERE indisvalid
        AND indexrelid IN (to_regclass('click_hours_later_idx'), to_regclass('links_later_idx'))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// An index over a table of clicks was once built in the migration's transaction: every batch of clicks waited for it, and
/// failed after two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn indexes_are_built_while_clicks_are_stored() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let client = database.connect().await;
    store.insert_link(&link("busy"), &Actor::Admin).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
            SELECT n, now(), 1, n % 7, 1 FROM generate_series(1000, 301000) AS n",
        )
        .await
        .unwrap();

    let done = AtomicBool::new(false);
    let clicking = async {
        let mut batches = 0;
        while !done.load(Ordering::Relaxed) {
            let clicks = vec![click("busy", jiff::Timestamp::now())];
            store.record_clicks(&batch(clicks)).await.unwrap();
            batches += 1;
        }
        batches
    };
    let migrating = async {
        let migrated = migrate_concurrently(&database).await;
        done.store(true, Ordering::Relaxed);
        migrated
    };
    let (batches, migrated) = tokio::join!(clicking, migrating);

    assert_eq!(
        migrated.unwrap(),
        Migrated {
            from: SCHEMA_VERSION,
            to: SCHEMA_VERSION + 1
        }
    );
    assert!(batches > 0);
    assert_eq!(store.link(&slug("busy")).await.unwrap().unwrap().clicks, batches);
    assert_eq!(valid_indexes(&client).await, 2);
    assert!(store.check().await.is_ok());
    store.close().await;
}

/// A build that failed leaves an index that no query uses and that every write updates; `IF NOT EXISTS` takes it for done.
#[tokio::test]
async fn an_invalid_index_is_built_again() {
    let database = TestDatabase::postgres().await;
    database.store().await.close().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
            SELECT n, now(), 1, 7, 1 FROM generate_series(1, 2) AS n",
        )
        .await
        .unwrap();
    let failed = client
        .batch_execute("CREATE UNIQUE INDEX CONCURRENTLY click_hours_later_idx ON click_hours (bots)")
        .await;
    assert!(failed.is_err());

    let migrated = migrate_concurrently(&database).await;

    assert_eq!(migrated.unwrap().to, SCHEMA_VERSION + 1);
    assert_eq!(valid_indexes(&client).await, 2);
}

#[tokio::test]
async fn a_build_that_waited_too_long_is_tried_again() {
    let database = TestDatabase::postgres().await;
    database.store().await.close().await;
    let mut blocker = database.connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE click_hours IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();

    let release_after_one_try = async {
        wait_until_locked(&database, true).await;
        wait_until_locked(&database, false).await;
        lock.commit().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrate_concurrently(&database), release_after_one_try);

    assert_eq!(migrated.unwrap().to, SCHEMA_VERSION + 1);
    assert_eq!(valid_indexes(&database.connect().await).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_five_migrators_one_builds_the_indexes() {
    let database = TestDatabase::postgres().await;
    database.store().await.close().await;

    let results = join_all((0..5).map(|_| migrate_concurrently(&database))).await;

    let migrated: Vec<Migrated> = results.into_iter().map(Result::unwrap).collect();
    assert!(
        migrated.iter().all(|migrated| migrated.to == SCHEMA_VERSION + 1),
        "{migrated:?}"
    );
    assert_eq!(valid_indexes(&database.connect().await).await, 2);
}
