//! What a connection text comes to, read back from the result and from the server.

use std::time::Duration;

use curtail::config::SecretString;
use curtail::store::{PostgresPurpose as Purpose, PostgresSettings as Settings};
use tokio_postgres::NoTls;
use tokio_postgres::config::{ChannelBinding, Config, Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};

use crate::db::{TestDatabase, postgres_at};

fn config(text: &str) -> Config {
    Settings::read(&postgres_at(text)).unwrap().config(Purpose::Reads)
}

fn faults(text: &str) -> Vec<String> {
    Settings::read(&postgres_at(text)).err().unwrap_or_default()
}

#[test]
fn what_a_url_says_reaches_the_driver() {
    let config = config(
        "postgresql://me:p%40ss@one:1,two:2/links?target_session_attrs=read-write&channel_binding=require\
         &load_balance_hosts=random&connect_timeout=7&keepalives_idle=11&keepalives_interval=12\
         &keepalives_retries=13&tcp_user_timeout=1500&application_name=mine",
    );

    assert_eq!(config.get_user(), Some("me"));
    assert_eq!(config.get_password(), Some(b"p@ss".as_slice()));
    assert_eq!(
        config.get_hosts(),
        [Host::Tcp("one".to_owned()), Host::Tcp("two".to_owned())]
    );
    assert_eq!(config.get_ports(), [1, 2]);
    assert_eq!(config.get_dbname(), Some("links"));
    assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(config.get_channel_binding(), ChannelBinding::Require);
    assert_eq!(config.get_load_balance_hosts(), LoadBalanceHosts::Random);
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(11));
    assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(12)));
    assert_eq!(config.get_keepalives_retries(), Some(13));
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    assert_eq!(config.get_application_name(), Some("mine"));
}

#[test]
fn what_a_url_leaves_open_has_a_default() {
    let config = config("host=db user=me");

    assert_eq!(config.get_ssl_mode(), SslMode::Prefer);
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(1)));
    assert!(config.get_keepalives());
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(30));
    assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(5)));
    assert_eq!(config.get_keepalives_retries(), Some(3));
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(5)));
    assert_eq!(config.get_application_name(), Some("curtail"));
    assert_eq!(config.get_channel_binding(), ChannelBinding::Prefer);
}

#[test]
fn every_form_of_a_socket_directory_is_taken_and_has_no_tls() {
    for text in [
        "host=/cloudsql/p:r:i user=me dbname=links",
        "postgres://me:pw@/links?host=/cloudsql/p:r:i",
        "postgres://me:pw@%2Fcloudsql%2Fp%3Ar%3Ai/links?sslmode=require",
        "postgres:///links?host=/cloudsql/p:r:i&user=sa@project.iam&sslmode=verify-full",
    ] {
        let config = config(text);

        assert_eq!(
            config.get_hosts(),
            [Host::Unix("/cloudsql/p:r:i".into())],
            "{text}"
        );
        assert_eq!(config.get_ssl_mode(), SslMode::Disable, "{text}");
    }
    assert_eq!(
        config("postgres:///l?host=/s&user=sa@project.iam").get_user(),
        Some("sa@project.iam")
    );
}

#[test]
fn a_missing_password_is_filled_in() {
    let mut section = postgres_at("postgres://me@db/links");
    section.password = Some(SecretString::from("from the file"));
    let filled = Settings::read(&section).unwrap().config(Purpose::Reads);
    section.url = SecretString::from("postgres://me:own@db/links");
    let kept = Settings::read(&section).unwrap().config(Purpose::Reads);

    assert_eq!(filled.get_password(), Some(b"from the file".as_slice()));
    assert_eq!(kept.get_password(), Some(b"own".as_slice()));
}

#[test]
fn every_sslmode_of_libpq_is_understood() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    let key = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
    std::fs::write(&file, key.cert.pem()).unwrap();
    let file = file.display();

    for (options, mode) in [
        (String::new(), SslMode::Prefer),
        ("?sslmode=disable".to_owned(), SslMode::Disable),
        ("?sslmode=prefer".to_owned(), SslMode::Prefer),
        ("?sslmode=require".to_owned(), SslMode::Require),
        (format!("?sslmode=require&sslrootcert={file}"), SslMode::Require),
        (format!("?sslmode=verify-ca&sslrootcert={file}"), SslMode::Require),
        (
            format!("?sslmode=verify-full&sslrootcert={file}"),
            SslMode::Require,
        ),
        ("?sslmode=verify-full".to_owned(), SslMode::Require),
        ("?sslrootcert=system".to_owned(), SslMode::Require),
        (
            "?sslnegotiation=direct&sslmode=require".to_owned(),
            SslMode::Require,
        ),
    ] {
        assert_eq!(
            config(&format!("postgres://me@db/links{options}")).get_ssl_mode(),
            mode,
            "{options}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_named_without_its_value() {
    for (text, expected) in [
        ("hunter2", "key=value"),
        ("mysql://me:hunter2@db/links", "key=value"),
        ("postgres://me:hunter2@db:hunter2/links", "`port`"),
        ("postgres://me:hunter2@/links", "no host"),
        ("postgres://me@db/links?sslmode=hunter2", "unknown sslmode"),
        ("postgres://me@db/links?sslmode=allow", "unknown sslmode"),
        ("postgres://me@db/links?sslmode=verify-ca", "verify-full"),
        (
            "postgres://me@db/links?sslmode=require&sslrootcert=system",
            "verify-full",
        ),
        (
            "postgres://me@db/links?sslmode=require&sslrootcert=/nonexistent.pem",
            "sslrootcert",
        ),
        (
            "postgres://me@db/links?sslmode=require&sslrootcert=/dev/null",
            "no certificate",
        ),
        (
            "postgres://me@db/links?sslmode=disable&channel_binding=require",
            "channel_binding",
        ),
        ("postgres://me@db/links?sslnegotiation=direct", "sslnegotiation"),
        (
            "postgres://me@db/links?statement_timeout=5",
            "options=-c statement_timeout=",
        ),
        ("postgres://me@db/links?pgbouncer=true", "pgbouncer"),
        ("postgres://me@db/links?hunter2=x", "an option that is not known"),
        (
            "postgres://me@db/links?target_session_attrs=hunter2",
            "`target_session_attrs`",
        ),
        (
            "postgres://me@db/links?tcp_user_timeout=hunter2",
            "`tcp_user_timeout`",
        ),
        ("postgres://me@db,%2Fsocket/links", "socket"),
        ("postgres://me@a,b,c/links?port=1", "ports"),
        ("host=db password=secret hunter2=x", "an option that is not known"),
    ] {
        let faults = faults(text);

        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].starts_with("DATABASE_URL "), "{faults:?}");
        assert!(faults[0].contains(expected), "{text}: {faults:?}");
        assert!(!faults[0].contains("hunter2"), "{faults:?}");
    }
}

#[test]
fn a_transaction_pooler_gets_no_options_of_ours() {
    let mut section = postgres_at("postgres://me@db/links?options=-c%20a%3Db");
    section.transaction_pooler = true;

    assert_eq!(
        Settings::read(&section)
            .unwrap()
            .config(Purpose::Writes)
            .get_options(),
        Some("-c a=b")
    );
}

#[tokio::test]
async fn the_server_has_the_settings_in_force() {
    let mut database = TestDatabase::postgres().await;
    let name = database.name().to_owned();
    let settings = Settings::read(database.postgres_section()).unwrap();

    for (purpose, statement_timeout, lock_timeout, idle_timeout) in [
        (Purpose::Reads, "500ms", "170ms", "500ms"),
        (Purpose::Writes, "2s", "1s", "500ms"),
        (Purpose::Clicks, "2s", "1s", "500ms"),
        (Purpose::Migration, "0", "0", "0"),
    ] {
        let (client, connection) = settings.config(purpose).connect(NoTls).await.unwrap();
        tokio::runtime::Handle::current().spawn(connection);
        let show = async |setting: &str| -> String {
            client
                .query_one(&format!("SHOW {setting}"), &[])
                .await
                .unwrap()
                .get(0)
        };

        assert_eq!(show("statement_timeout").await, statement_timeout);
        assert_eq!(show("lock_timeout").await, lock_timeout);
        assert_eq!(show("idle_in_transaction_session_timeout").await, idle_timeout);
        assert_eq!(show("search_path").await, name);
        assert_eq!(show("application_name").await, name);
    }
}

#[tokio::test]
async fn the_url_has_the_last_word() {
    let mut database = TestDatabase::postgres().await;
    let section = database.postgres_section();
    let url = curtail::config::ExposeSecret::expose_secret(&section.url)
        .replace("options=", "options=-c%20statement_timeout%3D123%20");
    section.url = url.into();
    let settings = Settings::read(section).unwrap();

    let (client, connection) = settings.config(Purpose::Reads).connect(NoTls).await.unwrap();
    tokio::runtime::Handle::current().spawn(connection);
    let timeout: String = client
        .query_one("SHOW statement_timeout", &[])
        .await
        .unwrap()
        .get(0);

    assert_eq!(timeout, "123ms");
}
