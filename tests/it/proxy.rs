//! `deploy/nginx.conf`, in a real nginx before real instances.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::db::variable;
use crate::deploy::read;

/// A running nginx. It ends with this.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Answers every question for an IPv4 address with these. It ends with the test's process.
fn name_server(addresses: Vec<Ipv4Addr>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            // RFC 1035, 4.1: the question is sent back, with an answer for each IP address that points at its name.
            let mut answer = packet[..length].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..8].copy_from_slice(&(addresses.len() as u16).to_be_bytes());
            answer[8..12].fill(0);
            for address in &addresses {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(address.octets());
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

impl Proxy {
    /// The configuration as it is, but for its ports, its folder and its name server.
    fn before(port: u16, addresses: Vec<Ipv4Addr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = free_port();
        let mut text = read("deploy/nginx.conf");
        for (from, to) in [
            ("127.0.0.11 valid", format!("{} valid", name_server(addresses))),
            (
                "server curtail:8080 resolve",
                format!("server curtail:{port} resolve"),
            ),
            ("listen 8080;", format!("listen 127.0.0.1:{own};")),
            ("/tmp/", format!("{}/", folder.path().display())),
        ] {
            assert!(text.contains(from), "nothing to replace: {from}");
            text = text.replace(from, &to);
        }
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, text).unwrap();
        let nginx = variable("TEST_NGINX").expect("TEST_NGINX names an nginx: use scripts/with-nginx");
        let child = Command::new(nginx)
            .args(["-g", "daemon off; user root;", "-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], own));
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::yield_now();
        }
        let proxy = Self {
            child,
            address,
            _folder: folder,
        };
        // The first look-up of the name takes a moment; until then there is no server.
        while proxy
            .send("GET", "/health/live", &[], b"")
            .starts_with("HTTP/1.1 502")
        {
            assert!(Instant::now() < deadline, "nginx finds no server");
            std::thread::yield_now();
        }
        proxy
    }

    /// Sends a request and reads its answer, head and body.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // What is refused by its length is not read to its end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // QUIT and TERM end its workers too; KILL would not.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Counts the connections that come on to a server. It ends with the test's process.
fn counting(server: SocketAddr) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let server = TcpStream::connect(server).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (port, count)
}

/// Each request once had a connection of its own, and large imports were refused.
#[test]
fn the_proxy_keeps_connections_and_passes_what_the_service_takes() {
    let app = TestApp::start_with(Backend::Sqlite, &[("TRUSTED_PROXY_HOPS", "1")]);
    app.create(json!({"slug": "here", "url": "https://example.org/"}));
    let (port, connections) = counting(SocketAddr::from(([127, 0, 0, 1], app.port)));
    let proxy = Proxy::before(port, vec![Ipv4Addr::LOCALHOST]);
    let key = format!("Bearer {ADMIN_KEY}");
    let before = connections.load(Ordering::SeqCst);

    for _ in 0..200 {
        let answer = proxy.send("GET", "/here", &[], b"");
        assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
    }
    // A worker process of nginx keeps its own.
    let workers = std::thread::available_parallelism().unwrap().get();
    let opened = connections.load(Ordering::SeqCst) - before;

    let title = "t".repeat(190);
    let lines: String = (0..30_000)
        .map(|number| format!("{{\"slug\":\"import-{number}\",\"url\":\"https://example.org/{number}\",\"title\":\"{title}\"}}\n"))
        .collect();
    assert!(lines.len() > 6 * 1024 * 1024, "{}", lines.len());
    let imported = proxy.send(
        "POST",
        "/api/v1/import?format=ndjson",
        &[("Authorization", &key), ("Content-Type", "application/x-ndjson")],
        lines.as_bytes(),
    );
    let exported = proxy.send(
        "GET",
        "/api/v1/export?format=ndjson",
        &[("Authorization", &key)],
        b"",
    );

    assert!(opened <= workers + 1, "{opened} connections for 200 requests");
    assert!(
        imported.starts_with("HTTP/1.1 200"),
        "{}",
        &imported[..imported.len().min(500)]
    );
    assert!(exported.contains("\"import-29999\""));
}

/// The scheme was that of the proxy itself, which never has TLS here: cookies were not `Secure`.
#[test]
fn a_visitor_of_https_gets_a_secure_cookie_behind_two_proxies() {
    let app = TestApp::start_with(Backend::Sqlite, &[("TRUSTED_PROXY_HOPS", "2")]);
    let proxy = Proxy::before(app.port, vec![Ipv4Addr::LOCALHOST]);

    let sign_in = |scheme: &str, forwarded: &[(&str, &str)]| {
        let origin = format!("{scheme}://localhost");
        let own = [
            ("Origin", origin.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let body = format!("key={ADMIN_KEY}");
        proxy.send(
            "POST",
            "/app/sign-in",
            &[&own, forwarded].concat(),
            body.as_bytes(),
        )
    };
    let secure = sign_in("https", &[("X-Forwarded-Proto", "https")]);
    let plain = sign_in("http", &[]);

    let cookie = |answer: &str| {
        let line = answer
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("set-cookie:"));
        line.unwrap_or_else(|| panic!("no cookie: {answer}")).to_owned()
    };
    assert!(
        cookie(&secure).contains("__Host-") && cookie(&secure).contains("Secure"),
        "{secure}"
    );
    assert!(!cookie(&plain).contains("Secure"), "{plain}");
}

/// A server that answers 503 to all, and writes the heads of the requests down.
fn unavailable() -> (u16, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    seen.lock().unwrap().push(head);
                    let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, heads)
}

/// A visit of a link with a click limit was asked again on 503, and so was every request that was turned away.
#[test]
fn an_answer_of_503_is_passed_on_and_a_gone_replica_is_not() {
    let (port, heads) = unavailable();
    // Nothing listens on the first two.
    let gone = [
        Ipv4Addr::new(127, 0, 0, 77),
        Ipv4Addr::new(127, 0, 0, 78),
        Ipv4Addr::LOCALHOST,
    ];
    let proxy = Proxy::before(port, gone.to_vec());
    heads.lock().unwrap().clear();

    let headers = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-For", "192.0.2.7"),
    ];
    let answer = proxy.send("GET", "/limited", &headers, b"");

    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "{heads:?}");
    let head = heads[0].to_ascii_lowercase();
    assert!(
        head.contains("x-forwarded-for: 192.0.2.7, 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(
        !head.contains("traceparent") && !head.contains("evil.example"),
        "{head}"
    );
}
