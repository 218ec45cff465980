//! `curtail worker`: the real binary.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::app::Backend;
use crate::ground::Ground;
use crate::process::command;

pub fn worker(ground: &Ground, arguments: &[&str]) -> Command {
    let settings = [
        ("DATABASE_URL", ground.url()),
        ("PURGE_AFTER_DAYS", "30"),
        ("CLICK_RETENTION_DAYS", "10"),
    ];
    let mut command = command(&settings);
    command
        .arg("worker")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

const PREPARE: &str = "
INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, expires_at, created_at, updated_at)
SELECT slug, next_revision(0), 'https://example.org/', '{}', 302, false, false, expires_at, now(), now()
FROM (VALUES ('old', now() - interval '31 days'), ('ended', now() - interval '29 days'), ('lasting', NULL)) AS l (slug, expires_at);
INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
SELECT id, date_trunc('hour', now()), 1, 0, 1 FROM links;
INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
SELECT id, date_trunc('hour', now() - interval '11 days'), 1, 0, 1 FROM links;
INSERT INTO click_batches (id, recorded_at) VALUES ('old', now() - interval '25 hours'), ('new', now());
INSERT INTO visitor_secrets (day, secret) VALUES (date_trunc('day', now(), 'UTC') - interval '3 days', 'x'),
    (date_trunc('day', now(), 'UTC'), 'y');
INSERT INTO clicks (clicked_at, link_id, bot, referrer, browser, system, device, language)
VALUES (now() - interval '60 days', 1, false, 'a', 'b', 'c', 'd', 'e'), (now(), 1, false, 'a', 'b', 'c', 'd', 'e');
";

/// The sums of a year were once read whole for it, which took longer than a statement may.
#[test]
fn old_sums_are_found_by_their_time() {
    let ground = Ground::fresh(Backend::Postgres);
    for table in ["click_hours", "click_values"] {
        ground.execute(&format!(
            "DO $$ DECLARE plan text; BEGIN
                SET LOCAL enable_seqscan = off;
                EXECUTE 'EXPLAIN (FORMAT JSON) DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM {table} WHERE start < now() ORDER BY start LIMIT 2000))' INTO plan;
                IF strpos(plan, '{table}_start_idx') = 0 THEN RAISE EXCEPTION '%', plan; END IF;
            END $$"
        ));
    }
}

#[test]
fn three_workers_at_once_do_every_job_once() {
    let ground = Ground::fresh(Backend::Postgres);
    ground.execute(PREPARE);

    let workers: Vec<_> = (0..3)
        .map(|_| worker(&ground, &["--once"]).spawn().unwrap())
        .collect();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{log}");
        for job in [
            "partitions",
            "retention of clicks",
            "retention of stats by hour",
            "retention of stats by value",
            "visitors",
            "batches",
            "purge",
            "orphaned stats",
        ] {
            assert!(log.contains(&format!("\"{job}: ")), "{job}: {log}");
        }
    }

    assert_eq!(ground.number("SELECT count(*) FROM links"), 2);
    assert_eq!(ground.number("SELECT count(*) FROM click_hours"), 2);
    assert_eq!(ground.number("SELECT count(*) FROM click_batches"), 1);
    assert_eq!(ground.number("SELECT count(*) FROM visitor_secrets"), 1);
    assert_eq!(ground.number("SELECT count(*) FROM clicks"), 1);
    assert_eq!(ground.number("SELECT count(*) FROM orphaned_stats"), 0);
    let again = worker(&ground, &["--once"]).output().unwrap();
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(ground.number("SELECT count(*) FROM links"), 2);
}

#[test]
fn a_worker_stops_at_once_when_asked() {
    let ground = Ground::fresh(Backend::Postgres);
    let mut worker = worker(&ground, &[]).spawn().unwrap();
    // The last job of the first round.
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("\"orphaned stats: ")),
        "no round was done"
    );

    let asked = Instant::now();
    kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
    let status = worker.wait().unwrap();

    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn a_worker_without_a_schema_says_what_to_do() {
    let ground = Ground::fresh_without_schema();

    let output = worker(&ground, &["--once"]).output().unwrap();

    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("curtail migrate"), "{text}");
}

/// Nothing said when the worker had stopped running.
#[test]
fn a_round_that_succeeded_is_seen_by_every_instance() {
    let ground = Ground::fresh(Backend::Postgres);
    let expires = "UPDATE api_keys SET expires_at = '2999-01-02T03:04:05Z'";
    let key = "INSERT INTO api_keys (id, hash, name, scopes, own_links_only, created_at)
        VALUES ('k1k2k3k4k5k6', decode(repeat('07', 32), 'hex'), 'later', '{}', false, now())";
    ground.execute(&format!("{key}; {expires}"));
    let rounds = "SELECT count(*) FROM maintenance WHERE succeeded_at > now() - interval '1 minute'";
    let none = ground.number(rounds);

    let failed = {
        ground.execute("ALTER TABLE answers RENAME TO hidden");
        let output = worker(&ground, &["--once"]).output().unwrap();
        ground.execute("ALTER TABLE hidden RENAME TO answers");
        (output.status.code(), ground.number(rounds))
    };
    let done = worker(&ground, &["--once"]).output().unwrap();
    let app = crate::app::TestApp::start_on(Backend::Postgres, std::sync::Arc::new(ground), &[]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while app.metrics.maintenance.last_success.get() == 0 {
        assert!(Instant::now() < deadline, "the instance did not read it");
        std::thread::yield_now();
    }

    assert_eq!(
        (none, failed),
        (0, (Some(1), 0)),
        "a round that failed is not recorded"
    );
    assert_eq!(
        done.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let now = jiff::Timestamp::now().as_second();
    assert!((now - 60..=now).contains(&app.metrics.maintenance.last_success.get()));
    let expiry: jiff::Timestamp = "2999-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(app.metrics.maintenance.next_key_expiry.get(), expiry.as_second());
}
