//! Requests that no honest client sends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::bed::Ground;
use super::super::client::{ADMIN_KEY, Answer, Client, api, read_answer};
use super::super::ledger::Kind;
use super::super::load::{HOT, Load, visit};
use super::super::proxy::{read, write};
use super::super::report::Check;
use super::{millis, pause};

/// What a client may ever be answered with.
const DOCUMENTED: &[u16] = &[
    200, 201, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 431,
];

pub async fn random(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    let cases = scale.pick(100_000_u64, 2_000);
    let address = bed.instances[0].client.address;
    let mut senders = JoinSet::new();
    for sender in 0..16 {
        senders.spawn(async move {
            // A client of its own: a broken request may break its connection.
            let client = Client::new(address);
            let mut chance = fastrand::Rng::with_seed(sender);
            let mut found = Found::default();
            for _ in 0..cases / 16 {
                let request = any_request(&mut chance);
                let answer = client.send(&request).await;
                found.judge(&request, answer.ok().as_ref());
            }
            found
        });
    }
    let mut all = Found::default();
    while let Some(found) = senders.join_next().await {
        let found = found.unwrap();
        all.cases += found.cases;
        all.faulty.extend(found.faulty);
        all.undocumented.extend(found.undocumented);
        all.locations += found.locations;
        all.bad_locations.extend(found.bad_locations);
    }
    let first = |list: &[String]| {
        format!(
            "{}{}",
            list.len(),
            list.first()
                .map(|one| format!(", such as {one:?}"))
                .unwrap_or_default()
        )
    };
    let alive = bed.instances[0]
        .client
        .get("/health/live")
        .await
        .is_ok_and(|answer| answer.status == 200);
    vec![
        Check::that(
            &format!("5xx, or no answer, of {} requests", all.cases),
            "0",
            &first(&all.faulty),
            all.faulty.is_empty(),
        ),
        Check::that(
            "statuses that are not documented",
            "0",
            &first(&all.undocumented),
            all.undocumented.is_empty(),
        ),
        Check::that(
            &format!(
                "of {} Locations, neither http nor https nor a path of ours",
                all.locations
            ),
            "0",
            &first(&all.bad_locations),
            all.bad_locations.is_empty() && all.locations > 0,
        ),
        Check::that("alive after it", "yes", if alive { "yes" } else { "no" }, alive),
    ]
}

#[derive(Debug, Default)]
struct Found {
    cases: usize,
    faulty: Vec<String>,
    undocumented: Vec<String>,
    locations: usize,
    bad_locations: Vec<String>,
}

impl Found {
    fn judge(&mut self, request: &str, answer: Option<&Answer>) {
        self.cases += 1;
        let Some(answer) = answer else {
            self.faulty.push(request.to_owned());
            return;
        };
        if answer.status >= 500 {
            self.faulty.push(format!("{} for {request}", answer.status));
        } else if !DOCUMENTED.contains(&answer.status) {
            self.undocumented.push(format!("{} for {request}", answer.status));
        }
        if let Some(location) = answer.header("location") {
            self.locations += 1;
            let parsed = url::Url::parse(location).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !parsed && !location.starts_with("/api/v1/links/") {
                self.bad_locations.push(location.to_owned());
            }
        }
    }
}

fn pick<'a>(chance: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    from[chance.usize(..from.len())]
}

fn any_text(chance: &mut fastrand::Rng) -> String {
    const PIECES: &[&str] = &[
        "a",
        "Z",
        "0",
        "-",
        "_",
        "%0d%0a",
        "%00",
        "%2e%2e",
        "%2f",
        "..",
        "%",
        "%zz",
        "%C3%A9",
        "%FF",
        "+",
        "~",
        "'",
        "\"",
        "<script>",
        "{{7*7}}",
        "$(id)",
        "javascript:",
        "https://example.org/",
        "\u{e9}",
        "\u{1f600}",
        "\u{202e}",
        "%20",
        ";",
        "=",
        "&",
        "*",
        "xn--",
        "1e999",
        "-1",
        "null",
        "hot-1",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    (0..chance.usize(..5)).map(|_| pick(chance, PIECES)).collect()
}

/// Without what would end the request's first line or a header.
fn any_word(chance: &mut fastrand::Rng) -> String {
    any_text(chance)
        .chars()
        .filter(|c| c.is_ascii() && !c.is_ascii_control() && *c != ' ')
        .collect()
}

fn any_value(chance: &mut fastrand::Rng, depth: u8) -> Value {
    match chance.u8(..if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(chance.bool()),
        2 => json!(chance.i64(..)),
        3 => json!(chance.i64(-2..400)),
        4 => json!(chance.f64() * 1e300),
        5 => json!(any_text(chance)),
        6 => json!(pick(
            chance,
            &[
                "https://example.org/",
                "http://a.b/?q=\u{e9}",
                "2030-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
                "-009999-01-01T00:00:00Z",
                "javascript:alert(1)",
                "https://example.org/\r\nSet-Cookie: x",
                "302",
            ]
        )),
        7 => (0..chance.usize(..4))
            .map(|_| any_value(chance, depth - 1))
            .collect(),
        _ => Value::Object(
            (0..chance.usize(..4))
                .map(|_| (any_text(chance), any_value(chance, depth - 1)))
                .collect(),
        ),
    }
}

fn any_body(chance: &mut fastrand::Rng) -> String {
    const FIELDS: &[&str] = &[
        "url",
        "slug",
        "length",
        "title",
        "tags",
        "redirect_status",
        "cache_seconds",
        "forward_query",
        "valid_from",
        "expires_at",
        "max_clicks",
        "reuse_existing",
        "disabled",
        "links",
        "name",
        "scopes",
        "own_links_only",
    ];
    if chance.u8(..20) == 0 {
        return any_text(chance) + "{\"url\":";
    }
    let mut body = serde_json::Map::new();
    if chance.u8(..10) < 8 {
        body.insert(
            "url".to_owned(),
            json!(format!("https://example.org/{}", any_word(chance))),
        );
    }
    for _ in 0..chance.usize(..4) {
        body.insert(pick(chance, FIELDS).to_owned(), any_value(chance, 2));
    }
    let whole = Value::Object(body);
    if chance.u8(..12) == 0 {
        json!({"links": [whole.clone(), whole, 3]}).to_string()
    } else {
        whole.to_string()
    }
}

fn any_request(chance: &mut fastrand::Rng) -> String {
    let query = if chance.u8(..3) == 0 {
        let name = pick(
            chance,
            &[
                "limit", "cursor", "q", "tag", "state", "from", "to", "interval", "x",
            ],
        );
        format!(
            "?{name}={}&{}={}",
            any_word(chance),
            any_word(chance),
            chance.i32(..)
        )
    } else {
        String::new()
    };
    if chance.bool() {
        let path = match chance.u8(..4) {
            0 => format!("/hot-{}", chance.u8(..50)),
            1 => pick(
                chance,
                &["/", "/health/live", "/version", "/robots.txt", "/favicon.ico"],
            )
            .to_owned(),
            _ => format!("/{}{}", any_word(chance).replace('?', ""), any_word(chance)),
        };
        let method = pick(
            chance,
            &[
                "GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW",
            ],
        );
        return format!(
            "{method} {path}{query} HTTP/1.1\r\nHost: short.example\r\nAccept: {}\r\nUser-Agent: {}\r\nReferer: {}\r\nAccept-Language: {}\r\nContent-Length: 0\r\n\r\n",
            pick(
                chance,
                &["text/html", "*/*", "application/json", "text/html;q=2, x"]
            ),
            any_word(chance),
            any_word(chance),
            any_word(chance)
        );
    }
    let slug = if chance.bool() {
        format!("hot-{}", chance.u8(..50))
    } else {
        any_word(chance).replace(['?', '/', '#'], "")
    };
    let path = match chance.u8(..8) {
        0..=2 => "/links".to_owned(),
        3 => "/links/bulk".to_owned(),
        4 | 5 => format!("/links/{slug}"),
        6 => format!("/links/{slug}/stats"),
        _ => format!(
            "/keys{}",
            if chance.bool() {
                format!("/{slug}")
            } else {
                String::new()
            }
        ),
    };
    let method = pick(chance, &["GET", "POST", "POST", "POST", "PATCH", "DELETE", "PUT"]);
    let more = if chance.u8(..3) == 0 {
        format!("Idempotency-Key: {}\r\n", any_word(chance))
    } else {
        String::new()
    };
    let body = if method == "GET" {
        String::new()
    } else {
        any_body(chance)
    };
    api(method, &format!("{path}{query}"), &body, &more)
}

/// Targets that are refused, and targets that are not.
fn vectors() -> Vec<(String, bool)> {
    let mut all = Vec::new();
    let mut refuse = |target: String| all.push((target, false));
    for scheme in [
        "javascript",
        "JavaScript",
        "data",
        "file",
        "vbscript",
        "blob",
        "ftp",
        "ws",
        "wss",
        "mailto",
        "tel",
        "about",
        "chrome",
        "view-source",
        "intent",
        "gopher",
        "jar",
        "ldap",
        "sms",
        "x",
    ] {
        for rest in [
            ":alert(1)",
            "://example.org/",
            ":text/html,<script>alert(1)</script>",
            ":",
        ] {
            refuse(format!("{scheme}{rest}"));
        }
    }
    for text in [
        "",
        " ",
        "/",
        "//example.org",
        "example.org",
        "http",
        "http:",
        "https://",
        "http:///",
        "?x",
        "#x",
        "\u{1f600}",
    ] {
        refuse(text.to_owned());
    }
    for control in ["\t", "\n", "\r", "\r\n", "\0", "\u{7f}", "\u{85}", "\u{1b}"] {
        refuse(format!("java{control}script:alert(1)"));
        refuse(format!("https://example.org/{control}x"));
        refuse(format!("https://exam{control}ple.org/"));
        refuse(format!("{control}https://example.org/"));
    }
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.254",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:10.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "metadata.google.internal",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127\u{3002}0\u{3002}0\u{3002}1",
        "\u{2460}27.0.0.1",
    ];
    for host in hosts {
        for scheme in ["http", "https", "HTTP"] {
            refuse(format!("{scheme}://{host}/"));
        }
        refuse(format!("http://{host}:8080/latest/meta-data"));
    }
    for target in [
        "https://user@example.org/",
        "https://user:pw@example.org/",
        "https://:pw@example.org/",
        "https://a..b/",
        "https://../",
        "https://.example.org/",
        "https://short.example/x",
        "https://SHORT.example/x",
        "http://short.example:8080/x",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "https://exa<mple.org/",
        "https://[::1",
        "https://%00/",
        "https://%6c%6f%63%61%6c%68%6f%73%74/",
        "https://short.example./x",
    ] {
        refuse(target.to_owned());
    }
    refuse(format!("https://example.org/{}", "a".repeat(8192)));
    for target in [
        "https://example.org",
        "http://example.org/",
        "HTTPS://EXAMPLE.ORG/",
        "https://example.org:8443/x",
        "https://example.org/?a=b&c=%20",
        "https://example.org/#part",
        "https://b\u{fc}cher.example/",
        "https://xn--bcher-kva.example/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https:example.org",
        "https:\\\\example.org\\a",
        "https://example.org/<script>",
        "https://example.org/%0d%0aSet-Cookie:x",
        "https://example.org/../../x",
        "https://example.org/\u{202e}x",
        "https://a.b.c.d.example.org/",
        "https://example.org/a b",
        "https://1.1.1.1:80/",
        "https://example.org/javascript:alert(1)",
        "https://notlocalhost.example/",
        "https://10.example.org/",
        "https://example.org/?u=http://127.0.0.1/",
    ] {
        all.push((target.to_owned(), true));
    }
    all
}

pub async fn targets(ground: Arc<Ground>) -> Vec<Check> {
    let bed = ground.bed(1).await;
    let client = &bed.instances[0].client;
    // Whoever follows a target would come by here.
    let visits = Arc::new(AtomicUsize::new(0));
    let mut ports = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address).await else {
            continue;
        };
        ports.push(listener.local_addr().unwrap());
        let visits = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                visits.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut vectors = vectors();
    for port in &ports {
        vectors.push((format!("http://{port}/canary"), false));
    }
    let mut wrong = Vec::new();
    for (target, accepted) in &vectors {
        let body = json!({"url": target}).to_string();
        let answer = client.api("POST", "/links", &body, "").await;
        let status = answer.as_ref().map(|answer| answer.status);
        let good = match (accepted, &answer) {
            (false, Ok(answer)) => answer.status == 422,
            (true, Ok(answer)) => {
                let kept = answer.json()["url"].as_str().unwrap_or_default().to_owned();
                answer.status == 201 && url::Url::parse(&kept).is_ok_and(|url| url.as_str() == kept)
            }
            (_, Err(_)) => false,
        };
        if !good {
            wrong.push(format!("{target:?}: {status:?}"));
        }
    }
    let mut echoed = 0;
    let payloads = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "'-alert(1)-'",
    ];
    for payload in payloads {
        let path: String = payload.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for request in [
            format!("GET /{path} HTTP/1.1\r\nHost: short.example\r\nAccept: text/html\r\n\r\n"),
            format!(
                "GET /none HTTP/1.1\r\nHost: short.example\r\nAccept: text/html\r\nReferer: {payload}\r\nUser-Agent: {payload}\r\n\r\n"
            ),
        ] {
            let answer = client.send(&request).await.unwrap();
            echoed += usize::from(String::from_utf8_lossy(&answer.body).contains(payload));
        }
    }
    pause(millis(200)).await;
    vec![
        Check::that(
            &format!("wrong verdicts on {} targets", vectors.len()),
            "0",
            &format!(
                "{}{}",
                wrong.len(),
                wrong
                    .iter()
                    .take(8)
                    .map(|one| format!(" {one}"))
                    .collect::<String>()
            ),
            wrong.is_empty() && vectors.len() >= 300,
        ),
        Check::exactly(
            "visits of a target by the service",
            0,
            visits.load(Ordering::SeqCst),
        ),
        Check::exactly("scripts that came back in a page", 0, echoed),
    ]
}

/// Requests that two readers could take for different ones. None may be taken at all.
fn framings() -> Vec<Vec<u8>> {
    let post = |headers: &str, body: &str| {
        format!(
            "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        )
        .into_bytes()
    };
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut all: Vec<Vec<u8>> = Vec::new();
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 4a\r\n",
        "Content-Length: 4.0\r\n",
        "Content-Length: 1e1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 4 4\r\n",
        "Content-Length: \"4\"\r\n",
        "Content-Length : 4\r\n",
        "Content-Length\t: 4\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;x\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n folded\r\nContent-Length: 4\r\n",
        " X: y\r\nContent-Length: 4\r\n",
        "X\0: y\r\nContent-Length: 4\r\n",
        "X: y\0\r\nContent-Length: 4\r\n",
        "X: y\rz\r\nContent-Length: 4\r\n",
        ": y\r\nContent-Length: 4\r\n",
        "X y\r\nContent-Length: 4\r\n",
        "X(: y\r\nContent-Length: 4\r\n",
        "Host: y\r\nContent-Length: 4\r\n",
    ] {
        all.push(post(headers, &format!("0\r\n\r\n{smuggled}")));
    }
    for chunk in [
        "g\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        "\r\nx\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\r\nx0\r\n\r\n",
        "1;\n\r\nx\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
    ] {
        all.push(post(
            "Transfer-Encoding: chunked\r\n",
            &format!("{chunk}{smuggled}"),
        ));
    }
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / HTTP/2.0",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/11",
        "GET /\0 HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1\rX",
        "GET",
        "/ HTTP/1.1",
        "\u{e9} / HTTP/1.1",
    ] {
        all.push(format!("{line}\r\nHost: x\r\n\r\n{smuggled}").into_bytes());
    }
    all
}

/// The statuses of all answers that come before the connection ends, or a second of silence.
async fn answers(address: SocketAddr, bytes: &[u8]) -> (Vec<u16>, bool) {
    let Ok(stream) = TcpStream::connect(address).await else {
        return (Vec::new(), false);
    };
    let _ = write(&stream, bytes).await;
    let mut all = Vec::new();
    let closed = loop {
        match timeout(Duration::from_secs(1), read(&stream)).await {
            Ok(Some(more)) => all.extend(more),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    let text = String::from_utf8_lossy(&all);
    let statuses = text
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|rest| rest.get(..3)?.parse().ok())
        .collect();
    (statuses, closed)
}

pub async fn abuse(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(1).await;
    bed.warm_up().await;
    let client = Arc::clone(&bed.instances[0].client);
    let address = client.address;
    let mut taken = Vec::new();
    let framings = framings();
    for bytes in &framings {
        let (statuses, closed) = answers(address, bytes).await;
        let refused = statuses.iter().all(|status| (400..500).contains(status)) && statuses.len() <= 1;
        if !refused || !closed {
            taken.push(format!(
                "{statuses:?} closed {closed}: {:?}",
                String::from_utf8_lossy(bytes)
            ));
        }
    }

    let visitors = Arc::clone(&client);
    let load = Load::of(200.0, move |_, intended, ledger| {
        let client = Arc::clone(&visitors);
        async move { visit(&client, Kind::Hot, fastrand::u64(..HOT), intended, &ledger).await }
    });
    pause(scale.seconds(4, 1)).await;
    let hit = Instant::now();
    let slow = scale.pick(1000, 100);
    let mut sockets = JoinSet::new();
    for number in 0..slow {
        sockets.spawn(async move { trickle(address, number % 2 == 0).await });
    }
    let (mut heads, mut bodies) = (Duration::ZERO, Duration::ZERO);
    while let Some(done) = sockets.join_next().await {
        let (of_head, took) = done.unwrap();
        if of_head {
            heads = heads.max(took);
        } else {
            bodies = bodies.max(took);
        }
    }
    let over = Instant::now();
    let ledger = load.stop().await;
    let base = ledger.within(&[Kind::Hot], ledger.began, hit).p99();
    let during = ledger.within(&[Kind::Hot], hit, over);
    vec![
        Check::that(
            &format!("of {} framings, not refused and closed", framings.len()),
            "0",
            &format!(
                "{}{}",
                taken.len(),
                taken
                    .iter()
                    .take(4)
                    .map(|one| format!(" {one}"))
                    .collect::<String>()
            ),
            taken.is_empty() && framings.len() >= 60,
        ),
        super::all_302(&format!("visitors beside {slow} slow sockets"), &during),
        Check::at_most(
            "a head that trickles in is cut off, the latest",
            millis(5500),
            heads,
        ),
        Check::at_most(
            "a body that trickles in is cut off, the latest",
            millis(10_500),
            bodies,
        ),
        Check::at_most("p99 of the visitors", base.max(millis(5)) * 2, during.p99()),
    ]
}

/// Sends a byte each half second until the service has enough. Answers whether it was a head, and when that was.
async fn trickle(address: SocketAddr, head: bool) -> (bool, Duration) {
    let began = Instant::now();
    let Ok(stream) = TcpStream::connect(address).await else {
        return (head, Duration::ZERO);
    };
    let start = if head {
        "GET /hot-1 HTTP/1.1\r\nX: ".to_owned()
    } else {
        format!(
            "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{{"
        )
    };
    let _ = write(&stream, start.as_bytes()).await;
    loop {
        match timeout(millis(500), read_answer(&stream)).await {
            Ok(_) => return (head, began.elapsed()),
            Err(_) if began.elapsed() > Duration::from_secs(30) => return (head, began.elapsed()),
            Err(_) => {
                if write(&stream, b" ").await.is_err() {
                    return (head, began.elapsed());
                }
            }
        }
    }
}
