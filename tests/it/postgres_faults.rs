//! A server that is gone, or does not answer.

use curtail::domain::Actor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use curtail::config::{self, StoreKind};
use curtail::store::{self, Store, StoreError};

use crate::db::postgres_at;
use crate::redis_nodes::eventually;
use crate::server::Server;
use crate::store_suite::{link, slug};

async fn open(url: &str) -> Arc<dyn Store> {
    let mut postgres = postgres_at(url);
    postgres.pool_size = 4;
    let section = config::Store {
        kind: StoreKind::Postgres(postgres),
        migrate_on_start: false,
    };
    store::migrate(&section).await.unwrap();
    store::open(&section).await.unwrap()
}

/// An outage is not a missing link.
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>, begun: Instant, limit: Duration) {
    let took = begun.elapsed();
    // Of a change that was sent before, it is not known whether it was made.
    assert!(
        matches!(
            result,
            Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
        ),
        "{result:?}"
    );
    assert!(took < limit, "{took:?}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_at_once_and_found_again() {
    let server = Server::start().await;
    let store = open(&server.url("db")).await;
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    store.redirect(&slug("kept")).await.unwrap();

    server.crash().await;
    for _ in 0..5 {
        let begun = Instant::now();
        assert_unavailable(
            store.redirect(&slug("kept")).await,
            begun,
            Duration::from_millis(300),
        );
        let begun = Instant::now();
        assert_unavailable(
            store.insert_link(&link("new"), &Actor::Admin).await,
            begun,
            Duration::from_millis(300),
        );
    }
    server.boot().await;

    // The next attempt to connect may have to wait for half a second.
    let begun = Instant::now();
    eventually("the server is found again", async || {
        matches!(store.redirect(&slug("kept")).await, Ok(Some(_)))
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    store.insert_link(&link("new"), &Actor::Admin).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_frozen_server_is_unavailable_within_a_second_and_found_again() {
    let server = Server::start().await;
    let store = open(&server.url("db")).await;
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    store.redirect(&slug("kept")).await.unwrap();
    // The first check may take longer: it is the one that connects.
    assert!(store.check().await.unwrap().is_some());

    server.freeze();
    for _ in 0..4 {
        let begun = Instant::now();
        assert_unavailable(store.redirect(&slug("kept")).await, begun, Duration::from_secs(1));
    }
    let begun = Instant::now();
    assert_unavailable(store.check().await, begun, Duration::from_secs(1));
    let begun = Instant::now();
    assert_unavailable(
        store.insert_link(&link("new"), &Actor::Admin).await,
        begun,
        Duration::from_secs(3),
    );
    server.thaw();

    let begun = Instant::now();
    let found = store.redirect(&slug("kept")).await;
    assert!(
        matches!(found, Ok(Some(_))),
        "{found:?} after {:?}",
        begun.elapsed()
    );
    store.insert_link(&link("newer"), &Actor::Admin).await.unwrap();
    store.close().await;
}

/// A link that waited for the statements before it was once given the whole limit again.
#[tokio::test]
async fn a_link_that_waits_behind_others_is_refused_as_early_as_they_are() {
    let server = Server::start().await;
    let store = open(&server.url("db")).await;
    store.insert_link(&link("kept"), &Actor::Admin).await.unwrap();
    let slugs: Vec<String> = (0..16).map(|number| format!("early{number}")).collect();
    let limit = Duration::from_millis(1300);

    server.freeze();
    let early = slugs.iter().map(|slug| async {
        let (begun, link) = (Instant::now(), link(slug));
        assert_unavailable(store.insert_link(&link, &Actor::Admin).await, begun, limit);
    });
    let late = async {
        // Takes most of the time that the others have.
        let _ = store.redirect(&slug("kept")).await;
        let begun = Instant::now();
        assert_unavailable(
            store.insert_link(&link("late"), &Actor::Admin).await,
            begun,
            limit,
        );
    };
    futures_util::future::join(futures_util::future::join_all(early), late).await;

    server.thaw();
    store.close().await;
}

/// A socket to a server that offers TLS once failed, for want of a host's name.
#[tokio::test]
async fn a_socket_is_used_without_tls() {
    let server = Server::start().await;

    let store = open(&server.socket_url()).await;

    store.check().await.unwrap();
    store.close().await;
}
