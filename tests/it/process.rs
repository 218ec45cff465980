//! The real binary: its command line, its start and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::app::ADMIN_KEY;
use crate::db;
use crate::ground::Ground;

/// The program with no setting but those given.
pub fn command(settings: &[(&str, &str)]) -> Command {
    let built = env!("CARGO_BIN_EXE_curtail").to_owned();
    // Another build, such as the release, can be tried in its place.
    let mut command = Command::new(db::variable("TEST_BINARY").unwrap_or(built));
    command
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null());
    command
}

fn output(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    command(settings).args(arguments).output().unwrap()
}

/// The program, serving. It is killed when this is dropped.
pub struct Curtail {
    child: Child,
    pub address: SocketAddr,
    /// The lines of the log up to the one that names the address.
    pub early: Vec<serde_json::Value>,
    lines: BufReader<std::process::ChildStdout>,
}

impl Curtail {
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::of(command(settings))
    }

    pub fn start_in(directory: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = command(settings);
        command.current_dir(directory);
        Self::of(command)
    }

    /// The program in a directory, and the first line that it writes for a person.
    pub fn start_noted(directory: &Path, settings: &[(&str, &str)]) -> (Self, String) {
        let mut command = command(settings);
        command.current_dir(directory).stderr(Stdio::piped());
        let mut curtail = Self::spawn(command);
        let mut note = String::new();
        let mut errors = BufReader::new(curtail.child.stderr.take().unwrap());
        errors.read_line(&mut note).unwrap();
        (curtail, note)
    }

    fn of(mut command: Command) -> Self {
        command.stderr(Stdio::inherit());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut early = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // The start line names the port that the system chose.
        let address = loop {
            let mut line = String::new();
            assert!(
                lines.read_line(&mut line).unwrap() > 0,
                "the program ended before it listened"
            );
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            early.push(line);
            let message = early.last().unwrap()["message"].as_str().unwrap();
            if let Some((_, rest)) = message.split_once("listens on ") {
                break rest
                    .split(',')
                    .next()
                    .unwrap()
                    .replace("0.0.0.0", "127.0.0.1")
                    .parse()
                    .unwrap();
            }
        };
        Self {
            child,
            address,
            early,
            lines,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes and reads until the service closes.
    pub fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is an end too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn get(&self, path: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The next line of the log that has a field.
    pub fn line_with(&mut self, field: &str) -> serde_json::Value {
        self.line_where(|line| line.get(field).is_some())
    }

    /// The next line of the log that is so.
    pub fn line_where(&mut self, is_so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let mut text = String::new();
            assert!(self.lines.read_line(&mut text).unwrap() > 0, "the log has ended");
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            if is_so(&line) {
                return line;
            }
        }
    }

    /// Waits for the end and answers the exit code, and what was still logged.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        let _ = self.lines.read_to_string(&mut rest);
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Curtail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sqlite(directory: &Path) -> String {
    format!("sqlite:{}", directory.join("links.db").display())
}

/// A keep-alive connection's next answer, head and body.
pub fn read_answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "closed in the middle: {}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")
            .map(|n| n.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

#[test]
fn the_one_command_keeps_a_link_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = Curtail::start_in(directory.path(), &[("PORT", "0")]);
    let body = "{\"url\":\"https://example.org/\",\"slug\":\"first\"}";
    let request = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(first.send(&request).starts_with("HTTP/1.1 201"));
    first.signal(Signal::INT);
    assert_eq!(first.wait().0, Some(0));

    let second = Curtail::start_in(directory.path(), &[("PORT", "0")]);

    let answer = second.get("/first");
    assert!(
        answer.starts_with("HTTP/1.1 302") && answer.contains("location: https://example.org/"),
        "{answer}"
    );
    assert!(directory.path().join("data/curtail.db").exists());
}

#[test]
fn sigterm_drains_answers_what_is_in_flight_and_exits_with_0_within_8_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite(directory.path());
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);
    let mut idle = curtail.connect();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(!read_answer(&mut idle).contains("connection: close"));
    // Half a request: it is in flight until its body comes.
    let mut in_flight = curtail.connect();
    let body = "{\"url\":\"https://example.org/\",\"slug\":\"late\"}";
    let head = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    in_flight.write_all(head.as_bytes()).unwrap();

    let start = Instant::now();
    curtail.signal(Signal::TERM);
    // The listener is still open, but says that it is about to close.
    let draining = loop {
        let answer = curtail.get("/health/ready");
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "readiness did not turn: {answer}"
        );
    };
    assert!(draining.contains("\"unavailable\""), "{draining}");
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let answer = read_answer(&mut idle);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    in_flight.write_all(body.as_bytes()).unwrap();
    let answer = read_answer(&mut in_flight);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    let (code, log) = curtail.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(start.elapsed() < Duration::from_secs(8));
    let again = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);
    assert!(
        again.get("/late").starts_with("HTTP/1.1 302"),
        "an acknowledged link was lost"
    );
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_exit() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite(directory.path());
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);
    let mut stuck = curtail.connect();
    let head = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    );
    stuck.write_all(head.as_bytes()).unwrap();
    assert!(curtail.get("/health/live").starts_with("HTTP/1.1 200"));

    let start = Instant::now();
    curtail.signal(Signal::TERM);
    let (code, log) = curtail.wait();

    assert_eq!(code, Some(0), "{log}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// It was 400, and `malformed_json` whatever was sent.
#[test]
fn a_body_that_stalls_is_408_and_the_connection_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite(directory.path());
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("YOURLS_API", "true"),
    ]);
    let stalled = |path: &'static str, kind: &'static str, seconds: u64| {
        let mut slow = curtail.connect();
        slow.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n{{"
        );
        std::thread::spawn(move || {
            let start = Instant::now();
            slow.write_all(head.as_bytes()).unwrap();
            let answer = read_answer(&mut slow).to_ascii_lowercase();
            assert!(
                answer.starts_with("http/1.1 408") && answer.contains("request_timeout"),
                "{path}: {answer}"
            );
            assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
            assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0, "closed");
            let bounds = Duration::from_secs(seconds - 1)..Duration::from_secs(seconds + 5);
            assert!(bounds.contains(&start.elapsed()), "{path}: {:?}", start.elapsed());
        })
    };

    let all = [
        stalled("/api/v1/links", "application/json", 10),
        stalled("/yourls-api.php", "application/x-www-form-urlencoded", 10),
        stalled("/app/sign-in", "application/x-www-form-urlencoded", 10),
        stalled("/api/v1/import?format=ndjson", "application/x-ndjson", 20),
    ];

    for one in all {
        one.join().unwrap();
    }
}

#[test]
fn bad_settings_end_the_start_with_one_line_that_names_them() {
    let settings = [
        ("PORT", "no-port"),
        ("ANONYMOUS_CREATE", "ture"),
        ("DATABASE_URL", "postgres://u:hunter2@:bad:/x"),
        ("REDIS_URL", "http://hunter2"),
    ];
    for subcommand in [
        &[][..],
        &["serve"],
        &["migrate"],
        &["worker"],
        &["config"],
        &["healthcheck"],
    ] {
        let output = output(subcommand, &settings);
        let text = String::from_utf8(output.stderr).unwrap();

        assert_eq!(output.status.code(), Some(1), "{subcommand:?}");
        assert_eq!(text.lines().count(), 1, "{text}");
        for name in ["PORT", "ANONYMOUS_CREATE", "DATABASE_URL", "REDIS_URL"] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(!text.contains("hunter2") && !text.contains("ture"), "{text}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let output = command(&[("PORT", &port)])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("PORT") && text.contains(&port), "{text}");
}

#[test]
fn a_schema_that_the_build_does_not_know_ends_the_start_naming_both_versions() {
    let database = Ground::fresh_without_schema();
    let settings = [
        ("PORT", "0"),
        ("DATABASE_URL", database.url()),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ];
    let known = curtail::store::SCHEMA_VERSION;

    let empty = output(&["serve"], &settings);
    let text = String::from_utf8(empty.stderr).unwrap();
    assert_eq!(empty.status.code(), Some(1), "{text}");
    assert!(
        text.contains("version 0")
            && text.contains(&format!("version {known}"))
            && text.contains("curtail migrate"),
        "{text}"
    );

    let as_owner = [
        ("DATABASE_URL", database.owner_url()),
        ("DATABASE_SERVICE_ROLE", database.service_role()),
    ];
    let migrated = output(&["migrate"], &as_owner);
    assert_eq!(
        migrated.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    assert!(
        Curtail::start(&settings)
            .get("/health/live")
            .starts_with("HTTP/1.1 200")
    );

    database
        .execute("INSERT INTO curtail_migrations (version, name, applied_at) VALUES (999, 'future', now())");
    let newer = output(&["serve"], &settings);
    let text = String::from_utf8(newer.stderr).unwrap();
    assert_eq!(newer.status.code(), Some(1), "{text}");
    assert!(
        text.contains("version 999") && text.contains(&format!("version {known}")),
        "{text}"
    );
    assert_eq!(output(&["migrate"], &as_owner).status.code(), Some(1));

    // A later build may say that this one can still work with its schema, as while a deploy goes on.
    database.execute(&format!(
        "UPDATE curtail_migrations SET oldest_build = {known} WHERE version = 999"
    ));
    assert!(
        Curtail::start(&settings)
            .get("/health/startup")
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn the_health_check_exits_with_0_for_a_ready_service_alone() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite(directory.path());
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("DATABASE_URL", &url),
        ("ADMIN_API_KEY", ADMIN_KEY),
    ]);
    let port = curtail.address.port().to_string();
    let settings = [("PORT", port.as_str()), ("DATABASE_URL", &url)];

    assert_eq!(output(&["healthcheck"], &settings).status.code(), Some(0));
    assert_eq!(
        output(&["healthcheck", "--store"], &settings).status.code(),
        Some(0)
    );
    curtail.signal(Signal::KILL);
    curtail.wait();
    assert_eq!(output(&["healthcheck"], &settings).status.code(), Some(1));
}

#[test]
fn the_health_check_of_a_worker_asks_the_store() {
    let url = Ground::unreachable().url().to_owned();

    let failed = output(&["healthcheck", "--store"], &[("DATABASE_URL", &url)]);

    assert_eq!(failed.status.code(), Some(1));
    assert!(
        String::from_utf8(failed.stderr)
            .unwrap()
            .contains("the database is unavailable")
    );
}

#[test]
fn the_settings_in_force_are_printed_without_secrets() {
    let settings = [
        ("DATABASE_URL", "postgres://u:hunter2@db/x"),
        ("ADMIN_API_KEY", "hunter2-of-more-than-24-characters"),
        ("PORT", "9000"),
    ];
    let printed = output(&["config"], &settings);
    let text = String::from_utf8(printed.stdout).unwrap();

    assert_eq!(printed.status.code(), Some(0));
    assert!(
        text.contains("PORT=9000\n")
            && text.contains("DATABASE_URL=(hidden)\n")
            && text.contains("# BASE_URL is unset\n"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_version_names_commit_and_build_time() {
    let text = String::from_utf8(output(&["--version"], &[]).stdout).unwrap();

    assert!(
        text.starts_with(concat!("curtail ", env!("CARGO_PKG_VERSION"), " (")),
        "{text}"
    );
    assert!(text.contains(", built 20"), "{text}");
}

#[test]
fn every_subcommand_explains_itself_with_an_example() {
    let help = String::from_utf8(output(&["--help"], &[]).stdout).unwrap();
    assert!(help.contains("Example:"), "{help}");
    for subcommand in ["serve", "migrate", "worker", "keys", "healthcheck", "config"] {
        assert!(help.contains(subcommand), "{subcommand}: {help}");
        let text = String::from_utf8(output(&[subcommand, "--help"], &[]).stdout).unwrap();
        assert!(text.contains("Example:"), "{subcommand}: {text}");
    }
    assert_eq!(output(&["bogus"], &[]).status.code(), Some(2));
}

#[test]
fn log_lines_are_json_that_cloud_logging_reads_and_hold_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite(directory.path());
    let settings = [
        ("PORT", "0"),
        ("DATABASE_URL", url.as_str()),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("RUST_LOG", "info"),
    ];
    let curtail = Curtail::start(&settings);
    let body = "{\"url\":\"https://example.org/?token=hunter2\",\"slug\":\"logged\"}";
    let request = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(curtail.send(&request).starts_with("HTTP/1.1 201"));
    assert!(curtail.get("/logged").starts_with("HTTP/1.1 302"));
    assert!(curtail.get("/%0d%0aforged").starts_with("HTTP/1.1 404"));
    curtail.signal(Signal::TERM);
    let (_, log) = curtail.wait();

    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!lines.is_empty());
    for line in &lines {
        assert!(
            ["DEBUG", "INFO", "WARNING", "ERROR"].contains(&line["severity"].as_str().unwrap()),
            "{line}"
        );
        assert!(
            line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(),
            "{line}"
        );
        assert!(line["message"].is_string(), "{line}");
    }
    let requests: Vec<_> = lines
        .iter()
        .filter(|line| line["httpRequest"].is_object())
        .collect();
    assert_eq!(
        requests.len(),
        1,
        "one line for the API request, none for the redirects: {log}"
    );
    assert_eq!(requests[0]["request_id"].as_str().map(str::len), Some(32));
    assert!(
        !log.contains("hunter2") && !log.contains(ADMIN_KEY) && !log.contains("forged"),
        "{log}"
    );
}
