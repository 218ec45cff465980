//! Starts that are not the plain one: a trial that others can reach, a database that does not answer, both address families.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::app::{ADMIN_KEY, Backend};
use crate::ground::{Ground, Switch};
use crate::process::Curtail;
use crate::redis_server;
use crate::server::Server;

/// A request with a key, or without one, and the answer to it.
fn send(curtail: &Curtail, request: &str, key: &str, body: &str) -> String {
    let authorization = match key {
        "" => String::new(),
        key => format!("Authorization: Bearer {key}\r\n"),
    };
    curtail.send(&format!(
        "{request} HTTP/1.1\r\nHost: short.example:8080\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// What `docker run -p 8080:8080` does: LISTEN_ADDRESS is the image's. It was refused.
#[test]
fn a_trial_that_others_can_reach_generates_its_key_once_and_prints_it_with_the_url() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("PORT", "0"), ("LISTEN_ADDRESS", "0.0.0.0")];
    let (curtail, note) = Curtail::start_noted(directory.path(), &settings);
    let key = note.trim_end().rsplit(' ').next().unwrap();
    let body = "{\"url\":\"https://example.org/\",\"slug\":\"kept\"}";

    let stranger = send(&curtail, "POST /api/v1/links", "", body);
    let list = send(&curtail, "GET /api/v1/links", "", "");
    let import = send(&curtail, "POST /api/v1/import", "", body);
    let owner = send(&curtail, "POST /api/v1/links", key, body);
    let redirect = send(&curtail, "GET /kept", "", "");

    let url = format!("http://localhost:{}/app", curtail.address.port());
    assert!(note.contains(&format!("open {url} ")), "{note}");
    assert_eq!(key.len(), 32, "{note}");
    for refused in [stranger, list, import] {
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    }
    assert!(owner.starts_with("HTTP/1.1 201"), "{owner}");
    assert!(redirect.starts_with("HTTP/1.1 302"), "{redirect}");
    let file = directory.path().join("data/admin-key");
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), key);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let early = format!("{:?}", curtail.early);
    assert!(!early.contains(key), "the log has the key: {early}");

    curtail.signal(Signal::INT);
    let (code, log) = curtail.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(key), "the log has the key: {log}");
    let (again, second_note) = Curtail::start_noted(directory.path(), &settings);
    assert_eq!(second_note.trim_end().rsplit(' ').next(), Some(key));
    assert!(send(&again, "GET /kept", "", "").starts_with("HTTP/1.1 302"));
}

/// A wrong name of the database showed as 503 at the probe for ever, and no line of the log said why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_probe_logs_its_cause_once_and_again_when_it_changes() {
    let server = Server::start().await;
    let url = server.url("127.0.0.1").replace("/postgres?", "/nothing?");
    let settings = [
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ];
    let is_of_health = |line: &serde_json::Value| {
        let place = &line["logging.googleapis.com/sourceLocation"]["file"];
        place.as_str().unwrap_or_default().ends_with("service/health.rs")
    };
    let mut curtail = Curtail::start(&settings);
    for path in ["/health/startup", "/health/ready"].repeat(3) {
        assert!(curtail.get(path).starts_with("HTTP/1.1 503"));
    }

    let mut causes = Vec::new();
    let mut until = |cause: &str| {
        while causes.last().is_none_or(|last: &String| !last.contains(cause)) {
            let line = curtail.line_where(is_of_health);
            assert_eq!(line["severity"], "WARNING", "{line}");
            causes.push(line["error"].as_str().unwrap().to_owned());
        }
    };
    until("3D000");
    server.crash().await;
    until("refused");

    // A busy machine may connect too late between.
    assert!(causes.windows(2).all(|pair| pair[0] != pair[1]), "{causes:?}");
}

/// Started by Redis, it has not seen the schema. It must not work with one that it does not know.
#[test]
fn an_instance_that_started_without_its_database_ends_when_the_schema_is_not_its_own() {
    let switch = Switch::before_postgres();
    let database = Ground::through(&switch);
    database
        .execute("INSERT INTO curtail_migrations (version, name, applied_at) VALUES (999, 'future', now())");
    switch.cut();
    let redis = redis_server::needed("TEST_REDIS_URL");
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", database.url()),
        ("REDIS_URL", &redis),
        ("REDIS_KEY_PREFIX", database.redis_prefix()),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);
    while !curtail.get("/health/startup").starts_with("HTTP/1.1 200") {}

    switch.heal();
    let (code, log) = curtail.wait();

    assert_eq!(code, Some(1), "{log}");
}

/// An SQLite file of another schema ends the start before a visitor is answered from it.
#[test]
fn a_file_of_another_schema_ends_the_start() {
    let database = Ground::fresh(Backend::Sqlite);
    database.execute("INSERT INTO curtail_migrations (version, name, applied_at) VALUES (999, 'future', 0)");
    let settings = [
        ("PORT", "0"),
        ("DATABASE_URL", database.url()),
        ("MIGRATE_ON_START", "false"),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ];

    let ended = crate::process::command(&settings).output().unwrap();

    assert_eq!(ended.status.code(), Some(1));
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(text.contains("version 999"), "{text}");
    assert!(!String::from_utf8_lossy(&ended.stdout).contains("listens on"));
}

/// `0.0.0.0` alone does not serve a cluster that has IPv6 addresses only.
#[test]
fn one_address_listens_on_both_families() {
    let database = Ground::fresh(Backend::Sqlite);
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("LISTEN_ADDRESS", "::"),
        ("DATABASE_URL", database.url()),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);
    let port = curtail.address.port();
    let mut addresses = vec![format!("127.0.0.1:{port}")];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(format!("[::1]:{port}"));
    }

    for address in addresses {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{address}: {answer}");
    }
    let port = port.to_string();
    let settings = [
        ("PORT", port.as_str()),
        ("LISTEN_ADDRESS", "::"),
        ("DATABASE_URL", database.url()),
    ];
    let check = crate::process::command(&settings)
        .args(["healthcheck", "--live"])
        .status();
    assert!(check.unwrap().success());
}

/// `u:p@ss@host` was split at its first @, so the service looked for a host called `ss@host` and never started.
#[test]
fn an_unescaped_at_sign_in_a_password_ends_the_start() {
    let url = "postgres://curtail:hunter2@secret@db.example/curtail";

    let ended = crate::process::command(&[("DATABASE_URL", url)])
        .arg("config")
        .output()
        .unwrap();

    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("DATABASE_URL") && text.contains("%40"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("secret"), "{text}");
}
