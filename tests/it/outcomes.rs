//! Changes that may have been made although no answer came.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use curtail::domain::{Actor, AuditQuery, ChangeKind, Link};
use curtail::store::StoreError;
use serde_json::{Value, json};

use crate::app::{Backend, TestApp};
use crate::db::TestDatabase;
use crate::ground::{Ground, Switch};
use crate::store_suite::link;

/// The client was told "unavailable", and the row was changed a moment later, without a record.
#[tokio::test]
async fn a_change_that_a_lock_holds_up_for_too_long_is_not_made() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let mut kept = link("held");
    kept.revision = store.insert_link(&kept, &Actor::Admin).await.unwrap();
    let other = database.connect().await;
    other
        .batch_execute("BEGIN; SELECT 1 FROM links WHERE slug = 'held' FOR UPDATE")
        .await
        .unwrap();
    let disabled = Link {
        disabled: true,
        ..kept.clone()
    };

    let result = store
        .update_link(&disabled, ChangeKind::LinkDisabled, &Actor::Admin)
        .await;

    other.batch_execute("COMMIT").await.unwrap();
    let busy = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND state = 'active' AND query LIKE '%update_link%'",
        database.name()
    );
    let began = Instant::now();
    while other.query_one(&busy, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the statement does not end"
        );
    }
    let disabled = store.link(&kept.slug).await.unwrap().unwrap().disabled;
    let query = AuditQuery {
        limit: 10,
        kind: Some(ChangeKind::LinkDisabled),
        ..AuditQuery::default()
    };
    let records = store.audit(&query).await.unwrap().records;
    assert_eq!(records.len(), usize::from(disabled));
    // The server gave up first, and said so; an answer that came too late would have left the outcome unknown.
    match result {
        Err(StoreError::Unavailable(_)) => assert!(!disabled),
        Err(StoreError::OutcomeUnknown(_)) => {}
        other => panic!("{other:?}"),
    }
    store.close().await;
}

#[tokio::test]
async fn a_change_that_was_never_sent_is_unavailable() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    store.close().await;

    let result = store.insert_link(&link("late"), &Actor::Admin).await;
    let deleted = store
        .delete_link(&link("late").slug, None, None, &Actor::Admin)
        .await;

    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    assert!(matches!(deleted, Err(StoreError::Unavailable(_))), "{deleted:?}");
}

/// The connection is lost while the statement waits for a lock; the server goes on and commits.
#[test]
fn a_change_whose_connection_is_lost_is_reported_as_unknown_and_seen_everywhere() {
    let proxy = Switch::before_postgres();
    let database = Arc::new(Ground::through(&proxy));
    let app = TestApp::start_on(Backend::Postgres, database, &[("REDIS_URL", "")]);
    app.create(json!({"url": "https://example.org/", "slug": "slow"}));
    assert_eq!(app.get("/slow").status, 302);
    let (release, released) = mpsc::channel();
    let count = |sql: &str| app.database.number(sql);
    let wait_for = |sql: &str, expected: i64| {
        let began = Instant::now();
        while count(sql) != expected {
            assert!(began.elapsed() < Duration::from_secs(20), "{sql}");
        }
    };

    let database = &app.database;
    let patched = std::thread::scope(|scope| {
        scope.spawn(move || database.hold("SELECT 1 FROM links WHERE slug = 'slow' FOR UPDATE", &released));
        wait_for(
            "SELECT count(*) FROM (SELECT 1 FROM links WHERE slug = 'slow' FOR UPDATE SKIP LOCKED) AS free",
            0,
        );
        let patching = scope.spawn(|| app.api("PATCH", "/links/slow", Some(&json!({"disabled": true}))));
        wait_for(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'
                AND pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE '%update_link%' AND state = 'active'
                    AND application_name = (SELECT current_schema()))",
            1,
        );
        proxy.cut();
        let patched = patching.join().unwrap();
        release.send(()).unwrap();
        patched
    });

    let problem = patched.assert_problem(503, "outcome_unknown");
    assert_eq!(problem["title"], "Outcome unknown");
    assert_eq!(patched.header("retry-after"), Some("1"));
    wait_for(
        "SELECT count(*) FROM changes WHERE kind = 'link.disabled' AND slug = 'slow'",
        1,
    );
    proxy.heal();
    let began = Instant::now();
    while app.get("/slow").status != 410 {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "a visitor gets the old state"
        );
    }
    let changes = app.api("GET", "/audit?kind=link.disabled", None).json();
    assert_eq!(changes["changes"][0]["slug"], Value::from("slow"));
}
