//! What only a file does.

use curtail::domain::Actor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use curtail::config::{self, StoreKind};
use curtail::domain::LinkQuery;
use curtail::store::{self, SCHEMA_VERSION, StoreError};
use futures_util::future::join_all;
use jiff::Timestamp;

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

/// A second connection to the file, as another program has.
fn beside(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

fn slow_search() -> LinkQuery {
    LinkQuery {
        limit: 50,
        after: None,
        // Too short for the index: link after link is read.
        text: Some("zq".into()),
        tag: None,
        state: None,
        owner: None,
        now: Timestamp::UNIX_EPOCH,
    }
}

/// Two readers served everything: beside four searches redirects fell from 127 to 4 a second, and some were 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_do_not_hold_up_redirects() {
    const LINKS: i64 = 60_000;
    let database = TestDatabase::sqlite().await;
    let store = store::open(&database.section).await.unwrap();
    beside(path(&database))
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO links (id, slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
            SELECT i, 'b' || i, i, 'https://example.org/articles/' || i, '[]', 302, 0, 0, 0, 0 FROM n",
            [LINKS],
        )
        .unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let searchers: Vec<_> = (0..4)
        .map(|_| {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            tokio::runtime::Handle::current().spawn(async move {
                let mut searches = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    // Some are given up: only the redirects are promised.
                    let _ = store.links(&slow_search()).await;
                    searches += 1;
                }
                searches
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for number in 1..=200 {
        let began = Instant::now();
        let found = store.redirect(&slug(&format!("b{}", number * 97))).await;
        slowest = slowest.max(began.elapsed());
        assert!(found.is_ok_and(|found| found.is_some()), "redirect {number}");
    }
    done.store(true, Ordering::Relaxed);

    for searcher in searchers {
        assert!(searcher.await.unwrap() > 0);
    }
    assert!(slowest < Duration::from_millis(350), "{slowest:?}");
    store.close().await;
}

/// The two ways that DEPLOY.md shows. A copy of the main file alone misses what is still in the journal.
#[tokio::test]
async fn a_backup_of_a_file_in_use_has_every_link() {
    let database = TestDatabase::sqlite().await;
    let store = store::open(&database.section).await.unwrap();
    store.insert_link(&link("before"), &Actor::Admin).await.unwrap();
    let file = path(&database);
    let beside_it = |ending: &str| PathBuf::from(format!("{}.{ending}", file.display()));
    let (vacuumed, backed_up, copied) = (beside_it("vacuum"), beside_it("backup"), beside_it("copy"));

    beside(file)
        .execute("VACUUM INTO ?1", [vacuumed.to_str().unwrap()])
        .unwrap();
    // What `.backup` of the sqlite3 program calls.
    let backup = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))";
    let python = std::process::Command::new("python3")
        .args(["-c", backup])
        .args([file, &backed_up])
        .status();
    std::fs::copy(file, &copied).unwrap();

    assert!(python.unwrap().success());
    let links = |path: &Path| -> i64 {
        let restored = beside(path);
        let whole: String = restored
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(whole, "ok");
        restored
            .query_row("SELECT count(*) FROM links", [], |row| row.get(0))
            .unwrap_or_default()
    };
    assert_eq!((links(&vacuumed), links(&backed_up)), (1, 1));
    assert_eq!(links(&copied), 0, "the warning in DEPLOY.md is void");
    store.close().await;
}
