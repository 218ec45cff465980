//! How many requests of the API may be at work at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{ADMIN_KEY, TestApp};
use crate::on_both_stores;

/// A create at work, whose body has not come yet.
fn half_a_create(app: &TestApp, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
    let head = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut goes_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut goes_on).unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Asks until the API answers so.
#[track_caller]
fn wait_for(app: &TestApp, status: u16) {
    let began = Instant::now();
    while app.api("GET", "/links", None).status != status {
        assert!(began.elapsed() < Duration::from_secs(10), "no {status} came");
        std::thread::yield_now();
    }
}

on_both_stores! {
    fn whoever_comes_beyond_the_bound_is_turned_away_at_once(backend) {
        let settings = [("API_CONCURRENCY", "1"), ("YOURLS_API", "true")];
        let app = TestApp::start_with(backend, &settings);
        app.create(json!({"url": "https://example.org/", "slug": "held"}));
        let body = "{\"url\":\"https://example.org/\",\"slug\":\"late\"}";

        let mut slow = half_a_create(&app, body);

        for (method, path) in [("GET", "/links"), ("POST", "/links"), ("DELETE", "/links/held")] {
            let refused = app.api(method, path, None);
            refused.assert_problem(503, "overloaded");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        assert_eq!(app.get("/yourls-api.php?action=version").status, 503);
        assert_eq!(app.metrics.shed.get(), 4);
        for (path, status) in [("/held", 302), ("/health/ready", 200), ("/health/live", 200), ("/held+", 200)] {
            assert_eq!(app.get(path).status, status, "{path}");
        }

        slow.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        wait_for(&app, 200);
        assert_eq!(app.get("/late").status, 302);
    }

    /// An export was no request at work once its head was made, so a thousand could run; `HEAD` read every link, and sent none.
    fn an_export_counts_until_its_stream_ends(backend) {
        let app = TestApp::start_with(backend, &[("EXPORT_CONCURRENCY", "1"), ("API_CONCURRENCY", "2")]);
        // More than the sockets on the way take.
        let long = "x".repeat(2_000);
        for part in 0..4 {
            let links: Vec<_> = (0..1000).map(|n| json!({"url": format!("https://example.org/{part}/{n}/{long}")})).collect();
            assert_eq!(app.api("POST", "/links/bulk", Some(&json!({"links": links}))).status, 200);
        }
        let pages = || {
            let all = app.metrics.statements.all();
            all.iter().filter(|(name, _)| name.contains("links_after") || name.contains("links_of_after")).map(|(_, statement)| statement.latency.count()).sum::<u64>()
        };
        let asked = app.api("HEAD", "/export?format=csv", None);
        assert_eq!((asked.status, asked.header("content-type")), (200, Some("text/csv; charset=utf-8")));
        assert_eq!(app.api("HEAD", "/export?format=x", None).status, 400);
        assert_eq!(pages(), 0, "HEAD read links");
        let mut unread = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
        let request = format!("GET /api/v1/export HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\r\n");
        unread.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        unread.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");

        let refused = app.api("GET", "/export", None);

        refused.assert_problem(503, "overloaded");
        assert_eq!(app.metrics.shed.get(), 1);
        assert_eq!(app.api("GET", "/links?limit=1", None).status, 200, "an export is no other request's place");
        drop(unread);
        let began = Instant::now();
        loop {
            let whole = app.api("GET", "/export", None);
            if whole.status == 200 {
                assert_eq!(whole.body.lines().count(), 4000);
                assert!(pages() > 0);
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "an export that was given up kept its place");
        }
    }

    fn whoever_hangs_up_makes_room(backend) {
        let app = TestApp::start_with(backend, &[("API_CONCURRENCY", "1")]);

        let slow = half_a_create(&app, "{\"url\":\"https://example.org/\"}");
        app.api("GET", "/links", None).assert_problem(503, "overloaded");
        drop(slow);

        wait_for(&app, 200);
    }
}
