//! Connections: who gets them, how they are opened, and what becomes of statements that are given up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use curtail::config::{self, StoreKind};
use curtail::domain::{Actor, ChangeKind, Interval, Range};
use curtail::store::{Answer, Candidate, Once, Store, StoreError, open, open_measured};
use curtail::telemetry::metrics::{Metrics, POOL_IN_USE, POOL_WAITING};
use futures_util::future::{join, join_all, select, select_all};
use tokio::time::sleep;

use crate::clicks_suite::{batch, click};
use crate::db::{TestDatabase, connect, postgres_at, server_url};
use crate::migrate::wait_until_locked;
use crate::redis_nodes::eventually;
use crate::server::Server;
use crate::store_suite::{LATEST, link, slug};

/// Makes statistics sleep in the database for longer than they may, and nothing else.
pub const SLOW_STATISTICS: &str = "ALTER TABLE click_values RENAME TO click_values_kept;
    CREATE VIEW click_values AS
        WITH slow AS MATERIALIZED (SELECT pg_sleep(3)::text AS slept)
        SELECT k.* FROM click_values_kept k WHERE (SELECT slept FROM slow) IS NOT NULL";

/// Statistics, asked for by six clients again and again.
async fn hold_up_searches(store: &dyn Store) {
    let now = "2026-11-21T02:00:00Z".parse().unwrap();
    let range = Range::new(None, None, Interval::Day, now).unwrap();
    let slug = slug("searched");
    let client = async || {
        loop {
            // Most are refused, which is not what this is about.
            let _ = store.tally(&slug, &range, 10).await;
            tokio::task::yield_now().await;
        }
    };
    let clients: Vec<_> = (0..6).map(|_| Box::pin(client())).collect();
    select_all(clients).await;
}

/// Two slow searches once stopped the storing of clicks, which shared their connection: each waited for a second, and was
/// told that the database is busy.
#[tokio::test]
async fn slow_searches_hold_up_searches_alone() {
    for size in [1, 2, 3, 4, 8] {
        let mut database = TestDatabase::postgres().await;
        database.postgres_section().pool_size = size;
        let store = database.store().await;
        store.insert_link(&link("searched"), &Actor::Admin).await.unwrap();
        database
            .connect()
            .await
            .batch_execute(SLOW_STATISTICS)
            .await
            .unwrap();
        let admin = database.connect().await;
        let sleeping = async || -> i64 {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'PgSleep'";
            admin.query_one(sql, &[&database.name()]).await.unwrap().get(0)
        };

        let work = async {
            let mut slowest = Duration::ZERO;
            for number in 0..6 {
                eventually("a search is at work", async || sleeping().await > 0).await;
                let begun = Instant::now();
                let clicks = batch(vec![click("searched", "2026-11-21T02:00:00Z".parse().unwrap())]);
                store.record_clicks(&clicks).await.unwrap();
                let name = format!("new{number}");
                store.insert_link(&link(&name), &Actor::Admin).await.unwrap();
                // With one connection for all, a visitor may have to wait for the search.
                if size > 1 {
                    store.redirect(&slug(&name)).await.unwrap().unwrap();
                }
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        };
        let slowest = match select(Box::pin(work), Box::pin(hold_up_searches(&*store))).await {
            futures_util::future::Either::Left((slowest, _)) => slowest,
            futures_util::future::Either::Right(_) => unreachable!("the searches do not end"),
        };

        println!("{size} connections: {slowest:?}");
        // A batch is due each second: within two of them. With fewer than three connections, two turns of 500 ms.
        assert!(
            slowest < Duration::from_secs(2),
            "{size} connections: {slowest:?}"
        );
        store.close().await;
    }
}

/// Visits of a used-up link are writes. At 3,000 a second they once took the connection for writes from creates, two thirds of
/// which were refused.
#[tokio::test]
async fn a_storm_on_a_link_with_a_limit_leaves_creates_alone() {
    for (size, held) in [(4, false), (4, true), (1, false)] {
        let mut database = TestDatabase::postgres().await;
        database.postgres_section().pool_size = size;
        let store = database.store().await;
        let mut limited = link("limited");
        limited.max_clicks = Some(1);
        store.insert_link(&limited, &Actor::Admin).await.unwrap();
        assert!(store.take_click(&slug("limited"), LATEST).await.is_ok());
        let mut blocker = database.connect().await;
        let lock = blocker.transaction().await.unwrap();
        if held {
            // Such as a batch of another instance that was frozen.
            lock.batch_execute("UPDATE links SET clicks = 0 WHERE slug = 'limited'")
                .await
                .unwrap();
        }
        let (visits, limited) = (AtomicU64::new(0), slug("limited"));
        let visitor = async || {
            loop {
                let _ = store.take_click(&limited, LATEST).await;
                visits.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        let creates = async {
            let mut failed = Vec::new();
            for number in 0..30 {
                if let Err(err) = store
                    .insert_link(&link(&format!("new{number}")), &Actor::Admin)
                    .await
                {
                    failed.push(err.to_string());
                }
            }
            failed
        };

        let visitors: Vec<_> = (0..48).map(|_| Box::pin(visitor())).collect();
        let failed = match select(Box::pin(creates), select_all(visitors)).await {
            futures_util::future::Either::Left((failed, _)) => failed,
            futures_util::future::Either::Right(_) => unreachable!("the visits do not end"),
        };

        println!(
            "{size} connections, row held: {held}: {} visits",
            visits.load(Ordering::Relaxed)
        );
        assert!(
            failed.is_empty(),
            "{size} connections, row held: {held}: {failed:?}"
        );
        lock.rollback().await.unwrap();
        store.close().await;
    }
}

async fn sessions(admin: &tokio_postgres::Client, name: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    admin.query_one(sql, &[&name]).await.unwrap().get(0)
}

/// A statement that was given up once ran on in the server while its client opened another connection: a pool of four had six.
#[tokio::test]
async fn statements_that_are_given_up_end_and_leave_no_session_more() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 4;
    database.migrate().await;
    let metrics = Arc::<Metrics>::default();
    let store = open_measured(&database.section, &metrics).await.unwrap();
    let mut kept = link("kept");
    kept.revision = store.insert_link(&kept, &Actor::Admin).await.unwrap();
    let (admin, mut blocker) = (database.connect().await, database.connect().await);
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM links WHERE slug = 'kept' FOR UPDATE")
        .await
        .unwrap();

    let mut most = 0;
    for _ in 0..10 {
        let update = store.update_link(&kept, ChangeKind::LinkUpdated, &Actor::Admin);
        let given_up = select(Box::pin(update), Box::pin(wait_until_locked(&database, true))).await;
        assert!(matches!(given_up, futures_util::future::Either::Right(_)));
        drop(given_up);
        let begun = Instant::now();
        most = most.max(sessions(&admin, database.name()).await);
        wait_until_locked(&database, false).await;
        most = most.max(sessions(&admin, database.name()).await);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "the statement ran on for {took:?}");
    }

    assert!(most <= 4, "{most} sessions");
    eventually("every statement is counted", async || {
        metrics.cancelled.ended.get() == 10
    })
    .await;
    lock.rollback().await.unwrap();
    store
        .update_link(&kept, ChangeKind::LinkUpdated, &Actor::Admin)
        .await
        .unwrap();
    store.close().await;
}

/// A proxy that holds back everything for a time in both directions, and that can end all connections.
struct Distance {
    address: SocketAddr,
    one_way_ms: Arc<AtomicU64>,
}

impl Distance {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let one_way_ms = Arc::<AtomicU64>::default();
        let delay = Arc::clone(&one_way_ms);
        // The threads end with their connections, or with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(server).unwrap();
                for (from, to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                ] {
                    let delay = Arc::clone(&delay);
                    std::thread::spawn(move || carry(from, to, &delay));
                }
            }
        });
        Self { address, one_way_ms }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, one_way_ms: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(Duration::from_millis(one_way_ms.load(Ordering::Relaxed)));
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A connection was once opened by the caller who asked first, and given up with him after 700 ms: a database 120 ms away was
/// never reached again after its connections were lost.
#[tokio::test]
async fn a_distant_database_is_reached_again_after_every_connection_was_lost() {
    let database = TestDatabase::postgres().await;
    database.migrate().await;
    let url = url::Url::parse(&server_url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let distance = Distance::before(server.parse().unwrap());
    let StoreKind::Postgres(near) = &database.section.kind else {
        unreachable!()
    };
    let mut far = url::Url::parse(config::ExposeSecret::expose_secret(&near.url)).unwrap();
    far.set_host(Some("127.0.0.1")).unwrap();
    far.set_port(Some(distance.address.port())).unwrap();
    let mut section = postgres_at(far.as_str());
    section.pool_size = 4;
    let store = open(&config::Store {
        kind: StoreKind::Postgres(section),
        migrate_on_start: false,
    })
    .await
    .unwrap();
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    store.redirect(&slug("kept")).await.unwrap().unwrap();
    let admin = database.connect().await;

    distance.one_way_ms.store(75, Ordering::Relaxed);
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    let ended: i64 = admin.query_one(sql, &[&database.name()]).await.unwrap().get(0);
    assert!(ended >= 2);
    let lost = Instant::now();
    let mut tries = 0;
    let back = loop {
        tries += 1;
        if let Ok(Some(_)) = store.redirect(&slug("kept")).await {
            break lost.elapsed();
        }
        assert!(
            lost.elapsed() < Duration::from_secs(20),
            "not reached after {tries} reads"
        );
        sleep(Duration::from_millis(20)).await;
    };

    println!("reached after {back:?} and {tries} reads");
    assert!(back < Duration::from_secs(5), "{back:?}");
    store.check().await.unwrap();
    store.insert_link(&link("new"), &Actor::Admin).await.unwrap();
    store.close().await;
}

/// The first visitor after minutes without one once paid for connecting.
#[tokio::test]
async fn a_connection_that_ended_is_replaced_before_it_is_asked_for() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 4;
    let store = database.store().await;
    store.redirect(&slug("absent")).await.unwrap();
    let admin = database.connect().await;
    let pids = async || -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
        let rows = admin.query(sql, &[&database.name()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    eventually("one session is left", async || pids().await.len() == 1).await;
    let before = pids().await;

    let sql = "SELECT pg_terminate_backend($1)";
    admin.query_one(sql, &[&before[0]]).await.unwrap();

    eventually("another session is there", async || {
        pids().await.iter().any(|pid| !before.contains(pid))
    })
    .await;
    store.close().await;
}

/// A server that refuses is asked again with pauses, and by nobody who does not wait.
#[tokio::test]
async fn an_idle_store_does_not_knock_at_a_server_that_is_gone() {
    let knocks = Arc::<AtomicU64>::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counted = Arc::clone(&knocks);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(client);
        }
    });
    let store = open(&config::Store {
        kind: StoreKind::Postgres(postgres_at(&format!(
            "postgres://me@{address}/db?sslmode=disable"
        ))),
        migrate_on_start: false,
    })
    .await
    .unwrap();

    let begun = Instant::now();
    let mut reads = 0_u64;
    while begun.elapsed() < Duration::from_secs(2) {
        let result = store.redirect(&slug("any")).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
        reads += 1;
        sleep(Duration::from_millis(1)).await;
    }
    let (busy, reads) = (knocks.load(Ordering::Relaxed), reads);
    sleep(Duration::from_secs(2)).await;
    let idle = knocks.load(Ordering::Relaxed) - busy;

    println!("{reads} reads, {busy} attempts; {idle} while idle");
    assert!(busy < 20, "{busy} attempts in 2 s");
    assert!(idle <= 1, "{idle} attempts while idle");
    store.close().await;
}

fn named(text: &str, pause: Duration) -> Once {
    let now: jiff::Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
    Once {
        caller: "admin".to_owned(),
        key: text.to_owned(),
        request: [0; 32],
        now,
        expires_at: now + jiff::SignedDuration::from_hours(24),
        render: Arc::new(move |_| {
            // An instance without CPU, between two statements of its transaction.
            std::thread::sleep(pause);
            Some(Answer {
                status: 201,
                location: None,
                body: b"made".to_vec(),
            })
        }),
    }
}

/// An instance that was frozen within a transaction once held its locks for 5 seconds, and behind a transaction-mode pooler,
/// where no session has time limits, for as long as it slept.
#[tokio::test]
async fn a_frozen_instance_holds_its_locks_for_less_than_a_second() {
    for pooler in [false, true] {
        let mut database = TestDatabase::postgres().await;
        database.postgres_section().transaction_pooler = pooler;
        let other = database.store().await;
        let candidate = |name: &str| {
            vec![Candidate {
                link: link(name),
                chosen: true,
                reuse: false,
            }]
        };
        other.insert_link(&link("first"), &Actor::Admin).await.unwrap();
        let admin = database.connect().await;

        let (section, candidates) = (database.section.clone(), candidate("frozen"));
        // With a runtime of its own, no part of which goes on.
        let asleep = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let frozen = open(&section).await.unwrap();
                let once = named("same", Duration::from_secs(3));
                let made = frozen.insert_links(&candidates, Some(&once), &Actor::Admin).await;
                frozen.close().await;
                made.is_ok()
            })
        });
        eventually("the transaction is idle", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'";
            let idle: i64 = admin.query_one(sql, &[&database.name()]).await.unwrap().get(0);
            idle > 0
        })
        .await;
        let begun = Instant::now();
        let once = named("same", Duration::ZERO);
        let made = other
            .insert_links(&candidate("other"), Some(&once), &Actor::Admin)
            .await;
        let took = begun.elapsed();

        assert!(made.is_ok(), "pooler: {pooler}: {made:?}");
        println!("pooler: {pooler}: {took:?}");
        assert!(took < Duration::from_secs(1), "pooler: {pooler}: {took:?}");
        other.close().await;
        assert!(!asleep.join().unwrap(), "pooler: {pooler}");
    }
}

/// Behind a transaction-mode pooler, where sessions have no time limits, a statement once ran on in the server however long it took.
#[tokio::test]
async fn single_statements_behind_a_pooler_end_by_themselves() {
    let mut database = TestDatabase::postgres_behind_pooler().await;
    database.postgres_section().pool_size = 4;
    let store = database.store().await;
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    store.redirect(&slug("kept")).await.unwrap();
    let mut blocker = database.connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();

    let (kept, new) = (slug("kept"), link("new"));
    let (read, write) = join(store.redirect(&kept), store.insert_link(&new, &Actor::Admin)).await;

    // By the server: 55P03 is its limit for locks.
    for text in [read.unwrap_err().to_string(), write.unwrap_err().to_string()] {
        assert!(text.contains("55P03"), "{text}");
    }
    lock.rollback().await.unwrap();
    store.insert_link(&link("newer"), &Actor::Admin).await.unwrap();
    assert!(matches!(store.redirect(&slug("newer")).await, Ok(Some(_))));
    store.close().await;
}

/// The request to end a statement goes to the server over a connection of its own, which is encrypted like the others.
#[tokio::test]
async fn a_statement_is_cancelled_over_tls_too() {
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(["good.test".to_owned()]).unwrap();
    let (certificate, private) = (key.cert.pem(), key.signing_key.serialize_pem());
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, &certificate).unwrap();
    let files = [
        ("server.crt", certificate.as_str()),
        ("server.key", private.as_str()),
    ];
    let hba = (
        "pg_hba.conf",
        "hostssl all all 127.0.0.1/32 trust\nlocal all all trust",
    );
    let server = Server::start_with(&[files[0], files[1], hba], &["ssl = on"]).await;
    let url = format!(
        "{}&sslmode=verify-full&sslrootcert={}",
        server.url("good.test"),
        authority.display()
    );
    let mut postgres = postgres_at(&url);
    postgres.pool_size = 4;
    let section = config::Store {
        kind: StoreKind::Postgres(postgres),
        migrate_on_start: false,
    };
    curtail::store::migrate(&section).await.unwrap();
    let metrics = Arc::<Metrics>::default();
    let store = open_measured(&section, &metrics).await.unwrap();
    let mut kept = link("kept");
    kept.revision = store.insert_link(&kept, &Actor::Admin).await.unwrap();
    let mut blocker = connect(&server.plain_socket_url()).await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM links WHERE slug = 'kept' FOR UPDATE")
        .await
        .unwrap();

    let watcher = connect(&server.plain_socket_url()).await;
    let waiting = async || -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        watcher.query_one(sql, &[]).await.unwrap().get(0)
    };
    let update = store.update_link(&kept, ChangeKind::LinkUpdated, &Actor::Admin);
    let blocked = eventually("the update waits", async || waiting().await > 0);
    drop(select(Box::pin(update), Box::pin(blocked)).await);
    let begun = Instant::now();
    eventually("nothing waits", async || waiting().await == 0).await;

    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    eventually("it is counted", async || metrics.cancelled.ended.get() == 1).await;
    lock.rollback().await.unwrap();
    store.close().await;
}

/// Many at once, of whom each third leaves: no connection and no place in a queue is lost on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_leave_take_no_connection_with_them() {
    let mut database = TestDatabase::postgres().await;
    database.postgres_section().pool_size = 4;
    database.migrate().await;
    let metrics = Arc::<Metrics>::default();
    let store = open_measured(&database.section, &metrics).await.unwrap();
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();

    for _ in 0..20 {
        let kept = slug("kept");
        let read = async |number: u64| {
            let read = store.redirect(&kept);
            match number % 3 {
                0 => drop(tokio::time::timeout(Duration::from_micros(number * 50), read).await),
                // A busy machine may refuse some.
                _ => drop(read.await),
            }
        };
        join_all((0..100).map(read)).await;
    }

    let at_work = || -> f64 {
        [&POOL_IN_USE, &POOL_WAITING]
            .iter()
            .flat_map(|family| metrics.watched(family))
            .map(|(_, number)| number)
            .sum()
    };
    eventually("none is used or waited for", async || at_work() == 0.0).await;
    let kept = slug("kept");
    let (one, other) = join(store.redirect(&kept), store.redirect(&kept)).await;
    assert!(
        matches!((&one, &other), (Ok(Some(_)), Ok(Some(_)))),
        "{one:?} {other:?}"
    );
    store.close().await;
}
