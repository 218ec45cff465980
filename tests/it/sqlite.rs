//! What only a file does.

use curtail::domain::Actor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use curtail::config::{self, StoreKind};
use curtail::store::{self, SCHEMA_VERSION, StoreError};
use futures_util::future::join_all;

use crate::db::TestDatabase;
use crate::store_suite::{link, slug};

fn path(database: &TestDatabase) -> &Path {
    match &database.section.kind {
        StoreKind::Sqlite(path) => path,
        StoreKind::Postgres(_) => panic!("not a file"),
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_file() {
    let database = TestDatabase::sqlite().await;
    let store = store::open(&database.section).await.unwrap();
    store.insert_link(&link("secret"), &Actor::Admin).await.unwrap();

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

    let file = path(&database);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(file), 0o600);
    assert_eq!(mode(&PathBuf::from(format!("{}-wal", file.display()))), 0o600);
    store.close().await;
}

#[tokio::test]
async fn two_stores_share_a_file() {
    let database = TestDatabase::sqlite().await;
    let (one, other) = tokio::join!(store::open(&database.section), store::open(&database.section));
    let stores = [one.unwrap(), other.unwrap()];

    let links: Vec<_> = (0..40).map(|n| link(&format!("link-{n}"))).collect();
    let results = join_all(
        links
            .iter()
            .enumerate()
            .map(|(n, link)| stores[n % 2].insert_link(link, &Actor::Admin)),
    )
    .await;

    let mut revisions: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 40);
    assert!(stores[0].link(&slug("link-39")).await.unwrap().is_some());
    for store in stores {
        store.close().await;
    }
}

#[tokio::test]
async fn a_link_is_there_after_closing_and_opening() {
    let database = TestDatabase::sqlite().await;
    let store = store::open(&database.section).await.unwrap();
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    store.close().await;

    let store = store::open(&database.section).await.unwrap();

    assert!(store.link(&slug("kept")).await.unwrap().is_some());
    assert!(
        !PathBuf::from(format!("{}-wal", path(&database).display()))
            .metadata()
            .is_ok_and(|file| file.len() > 0)
    );
    store.close().await;
}

#[tokio::test]
async fn what_was_queued_is_done_before_the_store_is_closed() {
    let database = TestDatabase::sqlite().await;
    let store = store::open(&database.section).await.unwrap();
    let links: Vec<_> = (0..20).map(|n| link(&format!("link-{n}"))).collect();

    let inserts = join_all(links.iter().map(|link| store.insert_link(link, &Actor::Admin)));
    let (results, ()) = tokio::join!(biased; inserts, store.close());

    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test]
async fn without_migration_the_store_opens_and_its_check_says_so() {
    let mut database = TestDatabase::sqlite().await;
    database.section.migrate_on_start = false;
    let store = store::open(&database.section).await.unwrap();

    let check = store.check().await;

    assert!(
        matches!(
            check,
            Err(StoreError::Schema {
                found: 0,
                known: SCHEMA_VERSION
            })
        ),
        "{check:?}"
    );
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let database = TestDatabase::sqlite().await;
    std::fs::create_dir_all(path(&database).parent().unwrap()).unwrap();
    std::fs::write(
        path(&database),
        "a shopping list, long enough to be taken for a header".repeat(99),
    )
    .unwrap();

    let opened = store::open(&database.section).await;

    assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{opened:?}");
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for path in [":memory:", ""] {
        let section = config::Store {
            kind: StoreKind::Sqlite(PathBuf::from(path)),
            migrate_on_start: true,
        };

        let faults = store::faults(&section);
        let opened = store::open(&section).await;

        assert_eq!(faults.len(), 1);
        assert!(matches!(opened, Err(StoreError::Settings(_))), "{opened:?}");
    }
}
