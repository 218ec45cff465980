//! A Redis that hangs, vanishes or comes back: always a miss in time, never an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use curtail::cache::{Entry, Put, encode};
use curtail::domain::{Clock, Rank, Revision, Slug};
use deadpool_redis::redis::cmd;
use rustix::process::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::redis_server::{
    Opened, Server, absent, any_slug, connect, free_port, get, is_healthy, keep, key, link, needed, open,
};

/// The longest call: its limit of 50 ms, and what a busy machine adds. Two limits one after the other take longer.
pub const LONGEST_CALL: Duration = Duration::from_millis(95);
/// How long after it is back a Redis is used again.
pub const RECOVERY: Duration = Duration::from_secs(1);

/// Looks the slug up until the breaker is open. All look-ups are misses within their limit.
pub async fn fails_until_refused(opened: &Opened, slug: &Slug) {
    let start = Instant::now();
    while opened.metrics.shared_cache.refused.get() == 0 {
        let (entry, took) = opened.timed_get(slug).await;
        assert_eq!(entry, None);
        assert!(took < LONGEST_CALL, "{took:?}");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "the breaker does not open"
        );
    }
    assert_eq!(opened.metrics.shared_cache.opened.get(), 1);
}

#[tokio::test]
async fn entries_are_kept_until_they_are_stale_and_marks_outlive_a_slow_reader() {
    let opened = Opened::on_shared_server();
    let (slug, deleted) = (any_slug(), any_slug());
    let now = opened.clock.now();
    let mark = Entry {
        fresh_until: now,
        stale_until: now,
        ..absent(Rank::of_deletion(Revision::new(1)))
    };

    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    keep(&*opened.cache, &deleted, &mark).await;

    let mut admin = connect(&needed("TEST_REDIS_URL")).await;
    let left =
        async |slug, admin: &mut _| -> i64 { cmd("PTTL").arg(key(slug)).query_async(admin).await.unwrap() };
    assert!((3_590_000..=3_600_000).contains(&left(&slug, &mut admin).await));
    assert!((1_000..=5_000).contains(&left(&deleted, &mut admin).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Server::start(&[]).await;
    let opened = open(&[("REDIS_URL", &server.url())]);
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;

    cmd("SCRIPT")
        .arg("FLUSH")
        .exec_async(&mut server.admin().await)
        .await
        .unwrap();

    keep(&*opened.cache, &slug, &link(&slug, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_a_quick_miss() {
    let opened = open(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", free_port()))]);
    let slug = any_slug();

    fails_until_refused(&opened, &slug).await;

    let (failed, start) = (opened.metrics.shared_cache.failed.get(), Instant::now());
    for _ in 0..1000 {
        assert_eq!(get(&*opened.cache, &slug).await, None);
        assert_eq!(
            opened.cache.put(&slug, &link(&slug, 1), Rank::UNSEEN).await,
            Put::Lost
        );
    }
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "{:?} for 2000 calls",
        start.elapsed()
    );
    let entries = [any_slug(), any_slug()].map(|slug| (slug.clone(), link(&slug, 1)));
    assert_eq!(opened.cache.put_many(&entries).await, [Put::Lost, Put::Lost]);
    assert_eq!(opened.metrics.shared_cache.failed.get(), failed);
    assert!(!is_healthy(&*opened.cache).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_left_alone_and_used_again_when_it_thaws() {
    let server = Server::start(&[]).await;
    let opened = open(&[("REDIS_URL", &server.url())]);
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    assert!(is_healthy(&*opened.cache).await);

    server.signal(Signal::STOP);

    fails_until_refused(&opened, &slug).await;
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let (_, took) = opened.timed_get(&slug).await;
        assert!(took < LONGEST_CALL, "{took:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(opened.metrics.shared_cache.opened.get(), 1);
    assert!(!is_healthy(&*opened.cache).await);

    server.signal(Signal::CONT);

    let took = opened.recovers(&slug).await;
    assert!(took < RECOVERY, "{took:?}");
    assert!(is_healthy(&*opened.cache).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_a_frozen_server_all_get_their_miss_in_time() {
    let server = Server::start(&[]).await;
    let opened = Arc::new(open(&[("REDIS_URL", &server.url())]));
    keep(&*opened.cache, &any_slug(), &absent(Rank::UNSEEN)).await;
    server.signal(Signal::STOP);

    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let opened = Arc::clone(&opened);
        callers.spawn(async move { opened.timed_get(&any_slug()).await });
    }

    for (entry, took) in callers.join_all().await {
        assert_eq!(entry, None);
        assert!(took < Duration::from_millis(150), "{took:?}");
    }
    server.signal(Signal::CONT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_used_again() {
    let mut server = Server::start(&[]).await;
    let opened = open(&[("REDIS_URL", &server.url())]);
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;

    server.kill();
    fails_until_refused(&opened, &slug).await;
    server.restart().await;

    let start = Instant::now();
    while opened.cache.put(&slug, &link(&slug, 2), Rank::UNSEEN).await == Put::Lost {
        assert!(start.elapsed() < RECOVERY);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, 2)));
}

/// A server closes connections that were idle for its `timeout`. See
/// <https://github.com/redis-rs/redis-rs/issues/1415>.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_by_the_server_costs_a_miss_and_does_not_open_the_breaker() {
    let server = Server::start(&[]).await;
    let opened = Arc::new(open(&[("REDIS_URL", &server.url())]));
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;

    for _ in 0..10 {
        cmd("CLIENT")
            .arg("KILL")
            .arg("TYPE")
            .arg("normal")
            .exec_async(&mut server.admin().await)
            .await
            .unwrap();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (opened, slug) = (Arc::clone(&opened), slug.clone());
            callers.spawn(async move { get(&*opened.cache, &slug).await });
        }
        callers.join_all().await;
        let took = opened.recovers(&slug).await;
        assert!(took < Duration::from_millis(200), "{took:?}");
    }

    assert_eq!(opened.metrics.shared_cache.opened.get(), 0);
}

/// Carries bytes between a client and a server. What is connected when it is cut stays connected, and
/// carries nothing any more: like a network that forgot the connection.
pub struct Proxy {
    port: u16,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            cuts: Arc::default(),
        };
        let cuts = Arc::clone(&proxy.cuts);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let cuts = Arc::clone(&cuts);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let at_start = cuts.load(Ordering::SeqCst);
                    let cut = async {
                        while cuts.load(Ordering::SeqCst) == at_start {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        () = cut => std::future::pending().await,
                    }
                });
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub async fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Only the kernel would notice after many minutes, and until then every call would wait in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_vanished_without_a_word_is_replaced() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::to(server.port()).await;
    let opened = open(&[("REDIS_URL", &proxy.url())]);
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;

    proxy.cut().await;

    fails_until_refused(&opened, &slug).await;
    let took = opened.recovers(&slug).await;
    assert!(took < RECOVERY, "{took:?}");
}

/// The client never asks again with a connection whose log-in was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_that_was_refused_is_tried_again() {
    let server = Server::start(&["--requirepass", "old"]).await;
    let opened = open(&[("REDIS_URL", &server.url()), ("REDIS_PASSWORD", "new")]);
    let slug = any_slug();
    fails_until_refused(&opened, &slug).await;

    let mut admin = connect(&format!("redis://:old@127.0.0.1:{}", server.port())).await;
    cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("new")
        .exec_async(&mut admin)
        .await
        .unwrap();
    cmd("SET")
        .arg(key(&slug))
        .arg(encode(&slug, &link(&slug, 1)))
        .exec_async(&mut admin)
        .await
        .unwrap();

    let took = opened.recovers(&slug).await;
    assert!(took < RECOVERY, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_still_answers_look_ups() {
    let server = Server::start(&[]).await;
    let opened = open(&[("REDIS_URL", &server.url())]);
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;

    cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(1)
        .exec_async(&mut server.admin().await)
        .await
        .unwrap();

    for _ in 0..30 {
        assert_eq!(
            opened.cache.put(&slug, &link(&slug, 2), Rank::UNSEEN).await,
            Put::Lost
        );
        assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, 1)));
    }
    let entries = [slug.clone(), any_slug()].map(|slug| (slug.clone(), link(&slug, 2)));
    assert_eq!(opened.cache.put_many(&entries).await, [Put::Lost, Put::Lost]);
    assert_eq!(opened.metrics.shared_cache.failed.get(), 32);
    assert_eq!(opened.metrics.shared_cache.opened.get(), 0);
}

/// Each worker of the HTTP server has a runtime of its own, and a connection made on it would end with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_outlives_the_worker_that_made_it() {
    let server = Server::start(&[]).await;
    let opened = Arc::new(open(&[("REDIS_URL", &server.url())]));
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    let mut admin = server.admin().await;
    cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .exec_async(&mut admin)
        .await
        .unwrap();

    let worker = {
        let (opened, slug) = (Arc::clone(&opened), slug.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                opened.recovers(&slug).await;
                assert!(is_healthy(&*opened.cache).await);
            });
        })
    };
    tokio::task::spawn_blocking(move || worker.join().unwrap())
        .await
        .unwrap();

    let failed = opened.metrics.shared_cache.failed.get();
    assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, 1)));
    assert_eq!(opened.metrics.shared_cache.failed.get(), failed);
    assert!(is_healthy(&*opened.cache).await);
}
