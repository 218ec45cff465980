//! More clicks than the database takes: what is given up of them, and what is said of those that are lost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::app::{Backend, TestApp};
use crate::ground::{Ground, Switch};
use crate::poll::wait_until;
use crate::process::Curtail;

fn make_links(ground: &Ground, links: u32) {
    ground.execute(&format!(
        "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
         SELECT 'link' || i, next_revision(0), 'https://example.org/', '{{}}', 302, false, false, now(), now()
         FROM generate_series(0, {links} - 1) AS i"
    ));
}

/// Clicks over one connection: the numbers name link and visitor.
fn click(address: SocketAddr, clicks: impl Iterator<Item = (u32, u32)>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for (link, visitor) in clicks {
        let request = format!(
            "GET /link{link} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 Firefox/{visitor}.0\r\nReferer: https://{}.example/\r\n\r\n",
            visitor % 50
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (mut head, mut part) = (Vec::new(), [0; 2048]);
        while !head.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "closed");
            head.extend_from_slice(&part[..length]);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 302"),
            "{}",
            String::from_utf8_lossy(&head)
        );
    }
}

/// The clicks that all counts of the database agree on.
fn stored(ground: &Ground) -> i64 {
    ground.number(
        "SELECT CASE WHEN raw = total AND hours = total THEN total ELSE -1 END FROM (SELECT
            (SELECT coalesce(sum(number), 0)::bigint FROM clicks) AS raw,
            (SELECT coalesce(sum(clicks), 0)::bigint FROM click_hours) AS hours,
            (SELECT sum(clicks)::bigint FROM links) AS total) AS counts",
    )
}

/// Each click differs from the others in its visitor: as they were kept one by one, the oldest were dropped.
#[test]
fn clicks_beyond_the_buffer_are_folded_until_the_database_is_back() {
    let switch = Switch::before_postgres();
    let ground = Arc::new(Ground::through(&switch));
    make_links(&ground, 4);
    let settings = [
        ("REDIS_URL", ""),
        ("CLICK_BUFFER", "400"),
        ("CLICK_FLUSH_MS", "50"),
    ];
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&ground), &settings);
    let address = SocketAddr::from(([127, 0, 0, 1], app.port));
    click(address, (0..4).map(|link| (link, 0)));
    wait_until("stored", || stored(&ground) == 4);

    switch.cut();
    click(address, (0..2000).map(|visitor| (visitor % 4, visitor)));
    assert_eq!(stored(&ground), 4);
    switch.heal();

    wait_until("stored", || stored(&ground) == 2004);
    assert_eq!(app.metrics.clicks.dropped.get(), 0);
    let folded: u64 = ["visitor", "values"]
        .iter()
        .map(|given_up| app.metrics.clicks.folded.get(given_up).get())
        .sum();
    assert!(folded > 1000, "{folded}");
}

fn lost(log: &str) -> i64 {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["clicks.lost"].as_i64())
        .sum()
}

/// It once lost them without a line of the log, and ended with exit code 0.
#[test]
fn clicks_that_are_lost_are_logged_and_the_stop_says_so() {
    let switch = Switch::before_postgres();
    let ground = Ground::through(&switch);
    make_links(&ground, 40);
    let mut curtail = Curtail::start(&[
        ("PORT", "0"),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("DATABASE_URL", ground.url()),
        ("CLICK_BUFFER", "16"),
        ("CLICK_FLUSH_MS", "50"),
    ]);
    click(curtail.address, (0..40).map(|link| (link, 0)));
    wait_until("stored", || stored(&ground) == 40);

    switch.cut();
    click(curtail.address, (0..40).map(|link| (link, 0)));
    let first = curtail.line_with("clicks.lost")["clicks.lost"].as_i64().unwrap();
    curtail.signal(Signal::INT);
    let (code, log) = curtail.wait();

    assert_eq!(code, Some(1), "{log}");
    assert_eq!((first + lost(&log), stored(&ground)), (40, 40), "{log}");
}

#[test]
fn a_stop_stores_what_an_outage_has_folded() {
    let switch = Switch::before_postgres();
    let ground = Ground::through(&switch);
    make_links(&ground, 4);
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("DATABASE_URL", ground.url()),
        ("CLICK_BUFFER", "400"),
    ]);
    click(curtail.address, (0..4).map(|link| (link, 0)));
    wait_until("stored", || stored(&ground) == 4);
    switch.cut();
    click(curtail.address, (0..1000).map(|visitor| (visitor % 4, visitor)));
    switch.heal();

    curtail.signal(Signal::INT);

    let (code, log) = curtail.wait();
    assert_eq!((code, stored(&ground), lost(&log)), (Some(0), 1004, 0), "{log}");
}
