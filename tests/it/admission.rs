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

    fn whoever_hangs_up_makes_room(backend) {
        let app = TestApp::start_with(backend, &[("API_CONCURRENCY", "1")]);

        let slow = half_a_create(&app, "{\"url\":\"https://example.org/\"}");
        app.api("GET", "/links", None).assert_problem(503, "overloaded");
        drop(slow);

        wait_for(&app, 200);
    }
}
