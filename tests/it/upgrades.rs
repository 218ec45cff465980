//! Offers to change the protocol are ignored: the answer, the body and the connection are those of a request without one.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::app::{ADMIN_KEY, TestApp};
use crate::on_both_stores;
use crate::process::read_answer;

const OFFERS: [&str; 5] = [
    "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: WebSocket\r\n",
];

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    stream
}

/// The first line of the answer on a connection that is kept.
#[track_caller]
fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read_answer(stream).to_ascii_lowercase();
    let head = answer.split("\r\n\r\n").next().unwrap();
    assert!(
        !head.contains("\r\nconnection:") && !head.contains("\r\nupgrade:"),
        "{request}\n{answer}"
    );
    head.lines().next().unwrap().to_owned()
}

on_both_stores! {
    /// The connection was closed after the answer, without a word of it; a body beside `Upgrade: websocket` was waited for
    /// until its time was over.
    fn every_route_ignores_an_offered_upgrade_on_a_connection_that_goes_on(backend) {
        let app = TestApp::start_with(backend, &[("METRICS_PORT", "0")]);
        app.create(json!({"url": "https://example.org/", "slug": "kept"}));
        let mut stream = connect(app.port);
        let routes = [
            ("GET", "/kept", 302), ("HEAD", "/kept", 302), ("GET", "/nothing", 404), ("GET", "/health/live", 200), ("GET", "/health/ready", 200),
            ("GET", "/version", 200), ("GET", "/", 200), ("GET", "/app", 303), ("GET", "/robots.txt", 200), ("DELETE", "/kept", 405),
            ("GET", "/api/v1/links", 401), ("GET", "/api/v1/nothing", 404),
        ];

        for offer in OFFERS {
            for (method, path, status) in routes {
                let line = ask(&mut stream, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{offer}\r\n"));
                assert!(line.contains(&status.to_string()), "{offer}{path}: {line}");
            }
        }
        let mut metrics = connect(app.metrics_port.unwrap());
        for offer in OFFERS {
            assert!(ask(&mut metrics, &format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{offer}\r\n")).contains("200"));
        }
    }

    fn a_body_beside_an_offer_is_read_by_its_length_or_its_chunks(backend) {
        let app = TestApp::start(backend);
        let mut stream = connect(app.port);
        // What looks like an offer in a body stays what it is.
        let body = json!({"url": "https://example.org/", "title": "Connection: Upgrade\r\nUpgrade: websocket\r\n"}).to_string();
        let head = format!("POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n");
        let (one, two) = body.split_at(20);
        let chunks = format!("{:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());

        for offer in OFFERS {
            let whole = format!("{head}{offer}Content-Length: {}\r\n\r\n{body}", body.len());
            assert!(ask(&mut stream, &whole).contains("201"), "{offer}");
            let in_chunks = format!("{head}{offer}Transfer-Encoding: chunked\r\n\r\n{chunks}");
            assert!(ask(&mut stream, &in_chunks).contains("201"), "{offer}");
        }

        let links = app.api("GET", "/links", None).json();
        let titles: Vec<_> = links["links"].as_array().unwrap().iter().map(|link| &link["title"]).collect();
        assert_eq!(titles.len(), 2 * OFFERS.len());
        assert!(titles.iter().all(|title| **title == json!("Connection: Upgrade\r\nUpgrade: websocket\r\n")), "{titles:?}");
    }
}

#[test]
fn requests_sent_at_once_with_offers_are_all_answered() {
    let app = TestApp::start(crate::app::Backend::Sqlite);
    let mut stream = connect(app.port);
    let request = format!("GET /version HTTP/1.1\r\nHost: localhost\r\n{}\r\n", OFFERS[1]);

    // Split where it hurts: in the middle of the words.
    for part in request.repeat(20).as_bytes().chunks(7) {
        stream.write_all(part).unwrap();
    }

    for _ in 0..20 {
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    }
}
