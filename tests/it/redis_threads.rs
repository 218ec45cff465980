//! Connections to Redis of the threads that answer requests: there for speed, and never needed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::cmd;

use crate::redis_faults::{Proxy, RECOVERY, fails_until_refused};
use crate::redis_server::{Opened, Server, any_slug, get, keep, link, open};

/// Runs `work` on a thread with a runtime of its own, as the HTTP server's workers have.
async fn on_a_worker<T, F>(work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work())
    });
    tokio::task::spawn_blocking(move || worker.join().unwrap())
        .await
        .unwrap()
}

/// How many connections there are beside those that ask for this.
async fn lines(admin: &mut MultiplexedConnection) -> usize {
    let clients: String = cmd("CLIENT").arg("LIST").query_async(admin).await.unwrap();
    clients
        .lines()
        .filter(|line| !line.contains(" cmd=client|list"))
        .count()
}

/// Looks a link up until `number` connections stand. Answers how many look-ups found nothing.
async fn asks_until(opened: &Opened, admin: &mut MultiplexedConnection, number: usize) -> u32 {
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    let (start, mut misses) = (Instant::now(), 0);
    loop {
        misses += u32::from(get(&*opened.cache, &slug).await.is_none());
        if lines(admin).await == number {
            return misses;
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{number} connections are not made"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_asks_gets_a_connection_that_ends_with_it() {
    let server = Arc::new(Server::start(&[]).await);
    let opened = Arc::new(open(&[("REDIS_URL", &server.url())]));
    let mut admin = server.admin().await;
    assert_eq!(asks_until(&opened, &mut admin, 1).await, 0);

    let misses = {
        let (opened, server) = (Arc::clone(&opened), Arc::clone(&server));
        on_a_worker(move || async move { asks_until(&opened, &mut server.admin().await, 2).await }).await
    };

    assert_eq!(misses, 0);
    assert_eq!(asks_until(&opened, &mut admin, 1).await, 0);
    assert_eq!(opened.metrics.shared_cache.failed.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_whose_connection_was_closed_makes_another() {
    let server = Arc::new(Server::start(&[]).await);
    let opened = Arc::new(open(&[("REDIS_URL", &server.url())]));
    asks_until(&opened, &mut server.admin().await, 1).await;

    let misses = {
        let (opened, server) = (Arc::clone(&opened), Arc::clone(&server));
        on_a_worker(move || async move {
            let mut admin = server.admin().await;
            asks_until(&opened, &mut admin, 2).await;
            let (slug, mut misses) = (any_slug(), 0);
            keep(&*opened.cache, &slug, &link(&slug, 1)).await;
            for _ in 0..10 {
                let mut kill = cmd("CLIENT");
                kill.arg("KILL")
                    .arg("TYPE")
                    .arg("normal")
                    .arg("SKIPME")
                    .arg("yes");
                kill.exec_async(&mut admin).await.unwrap();
                // Its own, and then the shared one, which was closed as well.
                while get(&*opened.cache, &slug).await.is_none() {
                    misses += 1;
                }
                asks_until(&opened, &mut admin, 2).await;
            }
            misses
        })
        .await
    };

    assert!((10..=20).contains(&misses), "{misses}");
    assert_eq!(opened.metrics.shared_cache.opened.get(), 0);
}

/// Only the kernel would notice after many minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_vanished_without_a_word_is_left_by_its_thread() {
    let server = Arc::new(Server::start(&[]).await);
    let proxy = Arc::new(Proxy::to(server.port()).await);
    let opened = Arc::new(open(&[("REDIS_URL", &proxy.url())]));
    asks_until(&opened, &mut server.admin().await, 1).await;

    let took = {
        let (opened, server) = (Arc::clone(&opened), Arc::clone(&server));
        on_a_worker(move || async move {
            let mut admin = server.admin().await;
            asks_until(&opened, &mut admin, 2).await;
            let slug = any_slug();
            keep(&*opened.cache, &slug, &link(&slug, 1)).await;
            proxy.cut().await;
            fails_until_refused(&opened, &slug).await;
            opened.recovers(&slug).await
        })
        .await
    };

    assert!(took < RECOVERY, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_more_connections_is_asked_on_the_shared_one() {
    let server = Arc::new(Server::start(&[]).await);
    let opened = Arc::new(open(&[("REDIS_URL", &server.url())]));
    let mut admin = server.admin().await;
    let slug = any_slug();
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    let mut full = cmd("CONFIG");
    full.arg("SET").arg("maxclients").arg(1);
    full.exec_async(&mut admin).await.unwrap();

    let misses = {
        let opened = Arc::clone(&opened);
        on_a_worker(move || async move {
            let mut misses = 0;
            for _ in 0..1000 {
                misses += u32::from(get(&*opened.cache, &slug).await.is_none());
            }
            misses
        })
        .await
    };

    assert_eq!(misses, 0);
    assert_eq!(lines(&mut admin).await, 1);
    assert_eq!(opened.metrics.shared_cache.failed.get(), 0);
}
