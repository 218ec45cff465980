//! The monthly partitions of the clicks, on PostgreSQL.

use std::sync::Arc;

use curtail::config::{Config, Env};
use curtail::domain::{Actor, ManualClock, day_of};
use curtail::service::Housekeeping;
use curtail::store::{Chore, Store};
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Client;

use crate::app::{ADMIN_KEY, Backend};
use crate::clicks_suite::{batch, click};
use crate::db::TestDatabase;
use crate::ground::Ground;
use crate::poll::wait_until;
use crate::process::Curtail;
use crate::store_suite::{link, slug};

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The partitions that a month has, but for the default one.
const PARTITIONS: &str = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'clicks'::regclass
    AND inhrelid <> 'clicks_default'::regclass";

/// The statement that drops all partitions but the default one.
const DROP_PARTITIONS: &str = "DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'clicks'::regclass
        AND inhrelid <> 'clicks_default'::regclass LOOP EXECUTE 'DROP TABLE ' || name; END LOOP; END $$";

/// Only the worker once made partitions: without one, all clicks went to the default partition after three months, and no log
/// line said so.
#[test]
fn a_service_creates_the_partitions_that_it_writes_to() {
    let ground = Ground::fresh(Backend::Postgres);
    ground.execute(DROP_PARTITIONS);

    let _service = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", ground.url()),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);

    wait_until("created", || ground.number(PARTITIONS) >= 3);
}

async fn create_all(store: &dyn Store, now: Timestamp) -> u64 {
    let mut most = 0;
    loop {
        let step = store.keep_house(Chore::MakePartitions(now)).await.unwrap();
        most = most.max(step);
        // Clicks of this month come meanwhile.
        store
            .record_clicks(&batch(vec![click("busy", now)]))
            .await
            .unwrap();
        if step == 0 {
            return most;
        }
    }
}

/// All clicks of a month were once moved in one statement, under a lock and the limit of two seconds: with some two million it
/// failed each time, and held up every click for as long.
#[tokio::test]
async fn a_full_default_partition_is_emptied_in_pieces() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let client = database.connect().await;
    let now = Timestamp::now();
    store.insert_link(&link("busy"), &Actor::Admin).await.unwrap();
    client.batch_execute(DROP_PARTITIONS).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO clicks (clicked_at, link_id, bot, referrer, browser, system, device, language)
            SELECT now() - make_interval(days => (n % 70)::int), 1, true, 'a', 'b', 'c', 'd', 'e'
            FROM generate_series(1, 50000) AS n",
        )
        .await
        .unwrap();
    let before = number(&client, "SELECT count(*) FROM clicks_default").await;

    let most = create_all(&*store, now).await;

    assert_eq!(before, 50_000);
    assert!(most <= 10_000, "{most}");
    assert_eq!(number(&client, "SELECT count(*) FROM clicks_default").await, 0);
    assert_eq!(
        number(&client, "SELECT count(*) FROM clicks WHERE bot").await,
        50_000
    );
    assert_eq!(
        number(
            &client,
            "SELECT count(*) FROM pg_class WHERE oid = to_regclass('clicks_overflow')"
        )
        .await,
        0
    );
    assert!(number(&client, PARTITIONS).await >= 5);
    let clicks = store.link(&slug("busy")).await.unwrap().unwrap().clicks;
    let stored = "SELECT sum(number)::bigint FROM clicks WHERE NOT bot";
    assert_eq!(number(&client, stored).await, clicks);
    store.close().await;
}

/// It keeps its name, so that creating the month's partition failed, and with it that of every later month.
#[tokio::test]
async fn a_detached_partition_blocks_no_later_month() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let client = database.connect().await;
    let now = Timestamp::now();
    store.insert_link(&link("busy"), &Actor::Admin).await.unwrap();
    client.batch_execute(DROP_PARTITIONS).await.unwrap();
    create_all(&*store, now).await;
    let month = "SELECT 'clicks_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')";
    let table: String = client.query_one(month, &[]).await.unwrap().get(0);
    client
        .batch_execute(&format!("ALTER TABLE clicks DETACH PARTITION {table}"))
        .await
        .unwrap();

    create_all(&*store, now + SignedDuration::from_hours(24 * 31)).await;
    create_all(&*store, now).await;

    assert!(number(&client, PARTITIONS).await >= 4);
    let again = format!("SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('{table}_2')");
    assert_eq!(number(&client, &again).await, 1);
    assert_eq!(number(&client, "SELECT count(*) FROM clicks_default").await, 0);
    store.close().await;
}

/// One statement once asked every link that was gone whether it had stats, in tables that were read whole.
#[tokio::test]
async fn orphaned_stats_are_dropped_in_bounded_pieces() {
    let database = TestDatabase::postgres().await;
    let store = database.store().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "INSERT INTO orphaned_stats (link_id) SELECT n FROM generate_series(1, 1000) AS n;
            INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
            SELECT n, now(), 1, 0, 1 FROM generate_series(1, 2000) AS n;
            INSERT INTO click_values (link_id, span, start, dimension, value, clicks)
            SELECT 7, 0, now() + make_interval(hours => n), 2, 'Firefox', 1 FROM generate_series(1, 9000) AS n;
            INSERT INTO deleted_links (id, slug, revision, target, tags, redirect_status, forward_query, disabled, clicks, created_at,
                updated_at, deleted_at)
            SELECT 1000, 'back', 1, 'https://example.org/', '{}', 302, false, false, 0, now(), now(), now()",
        )
        .await
        .unwrap();

    let mut most = 0;
    loop {
        let step = store.keep_house(Chore::DropRemains).await.unwrap();
        most = most.max(step);
        if step == 0 {
            break;
        }
    }

    assert!(most <= 2200, "{most}");
    assert_eq!(number(&client, "SELECT count(*) FROM orphaned_stats").await, 1);
    assert_eq!(number(&client, "SELECT count(*) FROM click_hours").await, 1001);
    assert_eq!(number(&client, "SELECT count(*) FROM click_values").await, 0);
    store.close().await;
}

/// Stats were once cut off within a day, while the day's sum was dropped whole.
#[tokio::test]
async fn retention_ends_with_a_whole_day() {
    let database = TestDatabase::sqlite().await;
    let store = database.store().await;
    let noon: Timestamp = "2026-11-21T12:34:56Z".parse().unwrap();
    let clock = Arc::new(ManualClock::at(noon));
    let days = ("CLICK_RETENTION_DAYS".to_owned(), "10".to_owned());
    let config = Config::read(&mut Env::from_pairs([days]));

    let chores = Housekeeping::new(&config.clicks, Arc::clone(&store), clock, Arc::default()).chores();

    let kept = day_of(noon) - SignedDuration::from_hours(240);
    for chore in [
        Chore::DropClicks(kept),
        Chore::DropHours(kept),
        Chore::DropValues(kept),
    ] {
        assert!(chores.iter().any(|(_, planned)| *planned == chore), "{chores:?}");
    }
    store.close().await;
}
