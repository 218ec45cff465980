//! The settings of the caches: what is refused, and ways to reach Redis.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use curtail::cache::{self, CacheHealth};
use curtail::domain::SystemClock;
use deadpool_redis::redis::cmd;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::redis_nodes::eventually;
use crate::redis_server::{
    Server, any_slug, connect, free_port, get, is_healthy, keep, key, link, open, settings,
};

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/tls")
        .join(name)
}

/// Keeps an entry and finds it again.
async fn works(pairs: &[(&str, &str)]) {
    let opened = open(pairs);
    let slug = any_slug();
    // The first call may come before the connection is there.
    opened
        .cache
        .put(&slug, &link(&slug, 1), curtail::domain::Rank::UNSEEN)
        .await;
    keep(&*opened.cache, &slug, &link(&slug, 1)).await;
    assert_eq!(get(&*opened.cache, &slug).await, Some(link(&slug, 1)));
    assert!(is_healthy(&*opened.cache).await);
}

#[tokio::test]
async fn a_bad_url_is_named_and_not_shown() {
    for url in [
        "redis.internal:6379",
        "http://s3cret@host/",
        "redis://:s3cret@",
        "redis://host/s3cret",
    ] {
        let settings = settings(&[("REDIS_URL", url)]);

        let faults = cache::faults(&settings);
        let opened = cache::shared(&settings, Arc::default(), Arc::new(SystemClock));

        assert_eq!(faults.len(), 1, "{url}");
        assert!(faults[0].starts_with("REDIS_URL is not valid"), "{}", faults[0]);
        assert!(!faults[0].contains("s3cret"), "{}", faults[0]);
        assert_eq!(opened.unwrap_err(), faults[0]);
    }
}

#[test]
fn a_bad_authority_is_named() {
    let missing = tls_file("missing.pem");
    let no_certificate = tls_file("server.key");
    let files = [
        (&missing, "names a file that cannot be read"),
        (&no_certificate, "without a PEM certificate"),
    ];
    for (file, reason) in files {
        let pairs = [
            ("REDIS_URL", "rediss://localhost"),
            ("REDIS_CA_FILE", file.to_str().unwrap()),
        ];

        let faults = cache::faults(&settings(&pairs));

        assert!(
            faults[0].starts_with("REDIS_CA_FILE ") && faults[0].contains(reason),
            "{}",
            faults[0]
        );
    }
    let plain = [
        ("REDIS_URL", "redis://localhost"),
        ("REDIS_CA_FILE", missing.to_str().unwrap()),
    ];
    assert!(cache::faults(&settings(&plain))[0].starts_with("REDIS_CA_FILE is for"));
}

#[test]
fn what_can_be_used_has_no_faults() {
    assert!(cache::faults(&settings(&[])).is_empty());
    assert!(cache::faults(&settings(&[("REDIS_PASSWORD", "alone")])).is_empty());
    for url in [
        "redis://localhost",
        "rediss://user:pass@[::1]:7000/3",
        "redis+unix:///run/redis.sock?db=1",
    ] {
        assert!(
            cache::faults(&settings(&[("REDIS_URL", url)])).is_empty(),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_cache_that_is_not_set_is_not_there() {
    let settings = settings(&[("MEMORY_CACHE_MIB", "0")]);

    assert!(cache::memory(&settings).is_none());
    assert!(
        cache::shared(&settings, Arc::default(), Arc::new(SystemClock))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_certificate_that_nobody_checks_is_refused() {
    let faults = cache::faults(&settings(&[("REDIS_URL", "rediss://localhost/#insecure")]));

    assert!(faults[0].starts_with("REDIS_URL is not valid"), "{}", faults[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_taken_from_the_url_or_its_own_variable() {
    let server = Server::start(&["--requirepass", "p@ss word"]).await;
    let port = server.port();

    works(&[("REDIS_URL", &format!("redis://:p%40ss%20word@127.0.0.1:{port}"))]).await;
    works(&[("REDIS_URL", &server.url()), ("REDIS_PASSWORD", "p@ss word")]).await;
    works(&[
        ("REDIS_URL", &format!("redis://default@127.0.0.1:{port}")),
        ("REDIS_PASSWORD", "p@ss word"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_of_the_url_comes_first() {
    let server = Server::start(&["--requirepass", "right"]).await;
    let url = format!("redis://:right@127.0.0.1:{}", server.port());

    works(&[("REDIS_URL", &url), ("REDIS_PASSWORD", "wrong")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_works() {
    let server = Server::start(&["--requirepass", "secret"]).await;
    let url = format!("redis+unix://{}", server.socket().display());

    works(&[("REDIS_URL", &url), ("REDIS_PASSWORD", "secret")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_of_the_url_is_used() {
    let server = Server::start(&[]).await;
    let opened = open(&[("REDIS_URL", &format!("{}/3", server.url()))]);
    let slug = any_slug();

    keep(&*opened.cache, &slug, &link(&slug, 1)).await;

    let mut admin = connect(&format!("{}/3", server.url())).await;
    let exists: bool = cmd("EXISTS")
        .arg(key(&slug))
        .query_async(&mut admin)
        .await
        .unwrap();
    assert!(exists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_works_with_the_authority_that_signed_the_server_only() {
    let file = |name| tls_file(name).to_str().unwrap().to_owned();
    let port = free_port();
    let (authority, certificate, secret) = (file("authority.pem"), file("server.pem"), file("server.key"));
    let _server = Server::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &secret,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let url = format!("rediss://localhost:{port}");

    works(&[("REDIS_URL", &url), ("REDIS_CA_FILE", &authority)]).await;

    let unknown = open(&[("REDIS_URL", &url)]);
    assert_eq!(get(&*unknown.cache, &any_slug()).await, None);
    assert_eq!(unknown.metrics.shared_cache.failed.get(), 1);
    assert!(!is_healthy(&*unknown.cache).await);
}

/// Managed Redis has certificates that name no host, or another than the address that it is reached at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_of_a_certificate_can_be_checked_without_the_name() {
    for names in [vec!["elsewhere.test".to_owned()], Vec::new()] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let authority = authority("ours");
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names.clone())
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        std::fs::write(path("ours.pem"), authority.pem()).unwrap();
        std::fs::write(path("other.pem"), self::authority("other").pem()).unwrap();
        std::fs::write(path("server.pem"), certificate.pem()).unwrap();
        std::fs::write(path("server.key"), key.serialize_pem()).unwrap();
        let port = free_port();
        let _server = Server::start(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path("server.pem"),
            "--tls-key-file",
            &path("server.key"),
            "--tls-ca-cert-file",
            &path("ours.pem"),
            "--tls-auth-clients",
            "no",
        ])
        .await;
        let url = format!("rediss://localhost:{port}");
        let by = |authority: &str, verify: &str| {
            open(&[
                ("REDIS_URL", &url),
                ("REDIS_CA_FILE", &path(authority)),
                ("REDIS_TLS_VERIFY", verify),
            ])
        };

        let (full, other) = (by("ours.pem", "full"), by("other.pem", "ca"));
        works(&[
            ("REDIS_URL", &url),
            ("REDIS_CA_FILE", &path("ours.pem")),
            ("REDIS_TLS_VERIFY", "ca"),
        ])
        .await;

        let CacheHealth::Unavailable(cause) = full.cache.health().await else {
            panic!("the name was not checked: {names:?}")
        };
        assert!(cause.contains("certificate"), "{cause}");
        assert!(!is_healthy(&*other.cache).await, "{names:?}");
    }
}

#[test]
fn to_check_the_chain_alone_needs_an_authority() {
    let pairs = [("REDIS_URL", "rediss://localhost"), ("REDIS_TLS_VERIFY", "ca")];

    let faults = cache::faults(&settings(&pairs));

    assert!(faults[0].contains("needs a REDIS_CA_FILE"), "{}", faults[0]);
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_may_want_a_password_and_tls() {
    let file = |name| tls_file(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let (authority, certificate, secret) = (file("authority.pem"), file("server.pem"), file("server.key"));
    let server = Server::start(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &free_port().to_string(),
        "--requirepass",
        "secret",
        "--cluster-announce-hostname",
        "localhost",
        "--tls-cluster",
        "yes",
        "--cluster-preferred-endpoint-type",
        "hostname",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &secret,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let mut admin = connect(&format!("redis+unix://{}?pass=secret", server.socket().display())).await;
    let mut all = cmd("CLUSTER");
    all.arg("ADDSLOTSRANGE")
        .arg(0)
        .arg(16383)
        .exec_async(&mut admin)
        .await
        .unwrap();
    let url = format!("rediss://localhost:{port},localhost:{port}");
    let pairs = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_CLUSTER", "true"),
        ("REDIS_CA_FILE", &authority),
    ];
    let right = open(&[&pairs[..], &[("REDIS_PASSWORD", "secret")]].concat());
    let wrong = open(&[&pairs[..], &[("REDIS_PASSWORD", "terces")]].concat());
    let slug = any_slug();

    eventually("the cluster serves", async || is_healthy(&*right.cache).await).await;
    keep(&*right.cache, &slug, &link(&slug, 1)).await;

    assert_eq!(get(&*right.cache, &slug).await, Some(link(&slug, 1)));
    assert_eq!(get(&*wrong.cache, &slug).await, None);
    assert!(!is_healthy(&*wrong.cache).await);
    assert!(!format!("{:?}", right.cache).contains("secret"));
}

#[test]
fn a_list_that_cannot_be_a_cluster_is_named_and_not_shown() {
    let faults = |url, cluster| cache::faults(&settings(&[("REDIS_URL", url), ("REDIS_CLUSTER", cluster)]));

    for url in [
        "redis://one,two",
        "rediss://:s3cret@one:7000,two:7000,three",
        "redis://user:s3cret@one:7000,redis://user:s3cret@two:7000",
        "redis://one",
    ] {
        assert!(faults(url, "true").is_empty(), "{url}");
    }
    for url in [
        "redis://:s3cret@one,redis://:other@two",
        "redis://:s3cret@one,rediss://:s3cret@two",
        "redis://:s3cret@one,redis+unix:///s3cret",
        "redis+unix:///s3cret",
        "redis://:s3cret@one/3",
        "redis://:s3cret@one,two:s3cret",
        ",",
    ] {
        let faults = faults(url, "true");
        assert_eq!(faults.len(), 1, "{url}");
        assert!(
            faults[0].starts_with("REDIS_URL is not valid"),
            "{url}: {faults:?}"
        );
        assert!(!faults[0].contains("s3cret"), "{faults:?}");
    }
    let several = faults("redis://one,two", "false");
    assert!(several[0].contains("REDIS_CLUSTER"), "{several:?}");
}

#[tokio::test]
async fn no_password_is_shown() {
    let opened = open(&[("REDIS_URL", "redis://:s3cret@127.0.0.1:1")]);

    assert!(!format!("{:?}", opened.cache).contains("s3cret"));
}
