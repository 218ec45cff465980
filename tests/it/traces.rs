//! Traces of the real binary: what is sampled arrives whole at a real receiver, and agrees with the log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::app::{ADMIN_KEY, Backend};
use crate::ground::Ground;
use crate::on_both_stores;
use crate::otlp::{Receiver, Span};
use crate::process::Curtail;
use crate::redis_server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn start(backend: Backend, ground: &Ground, endpoint: &str, more: &[(&str, &str)]) -> Curtail {
    let redis = match backend {
        Backend::Sqlite => String::new(),
        Backend::Postgres => redis_server::needed("TEST_REDIS_URL"),
    };
    let mut settings = vec![
        ("PORT", "0"),
        ("DATABASE_URL", ground.url()),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("LOG_FORMAT", "json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("GOOGLE_CLOUD_PROJECT", "my-project"),
    ];
    if backend == Backend::Postgres {
        settings.push(("REDIS_URL", &redis));
        settings.push(("REDIS_KEY_PREFIX", ground.redis_prefix()));
    }
    settings.extend_from_slice(more);
    Curtail::start(&settings)
}

fn create(curtail: &Curtail, slug: &str, header: &str) {
    let body = format!("{{\"url\":\"https://example.org/?token=hunter2\",\"slug\":\"{slug}\"}}");
    let request = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n{header}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = curtail.send(&request);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

fn visit(curtail: &Curtail, slug: &str, header: &str) {
    let request = format!("GET /{slug} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n");
    let answer = curtail.send(&request);
    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
}

/// Stops without the second that SIGTERM leaves to routers, so that only a flush can bring the last spans out.
fn stop(curtail: Curtail) -> Vec<Value> {
    curtail.signal(Signal::INT);
    let (code, log) = curtail.wait();
    assert_eq!(code, Some(0), "{log}");
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\n")
}

fn children<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    spans
        .iter()
        .filter(|span| span.parent_id == parent.span_id)
        .collect()
}

/// The spans round the shared cache hid that instances can tell each other of changes.
#[test]
fn instances_that_trace_tell_each_other_of_changes() {
    let (ground, receiver) = (Ground::fresh(Backend::Postgres), Receiver::start());
    let one = start(Backend::Postgres, &ground, &receiver.url(), &[]);
    let trusting = [("MEMORY_CACHE_SECONDS", "3600")];
    let other = start(Backend::Postgres, &ground, &receiver.url(), &trusting);
    create(&one, "told", "");
    visit(&other, "told", "");

    let is_heard = |number: u32| {
        let body = format!("{{\"url\":\"https://example.org/{number}\"}}");
        let request = format!(
            "PATCH /api/v1/links/told HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        assert!(one.send(&request).starts_with("HTTP/1.1 200"));
        let next = Instant::now() + Duration::from_millis(300);
        let wanted = format!("https://example.org/{number}\r\n");
        while Instant::now() < next {
            if other.get("/told").contains(&wanted) {
                return true;
            }
            // Each visit is a connection, and a system has only so many.
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    };

    // The subscription may not stand at first.
    assert!((0..20).any(is_heard));
}

on_both_stores! {
    fn a_sampled_redirect_is_one_trace_with_its_caches_and_its_store(backend) {
        let (ground, receiver) = (Ground::fresh(backend), Receiver::start());
        let curtail = start(backend, &ground, &receiver.url(), &[("OTEL_TRACES_SAMPLER", "parentbased_always_off"), ("REDIS_CACHE_SECONDS", "0")]);
        create(&curtail, "traced", "");

        visit(&curtail, "traced", &traceparent("00"));
        visit(&curtail, "traced", "");
        visit(&curtail, "traced", &traceparent("01"));
        create(&curtail, "second", &traceparent("01").replace(TRACE, &TRACE.replace('0', "1")));
        let log = stop(curtail);

        let spans = receiver.spans();
        let traces: BTreeSet<_> = spans.iter().map(|span| span.trace_id.clone()).collect();
        assert_eq!(traces, BTreeSet::from([TRACE.to_owned(), TRACE.replace('0', "1")]), "{spans:#?}");
        let root = spans.iter().find(|span| span.name == "GET /{slug}").unwrap();
        assert_eq!((root.parent_id.as_str(), root.kind), (PARENT, SERVER));
        assert_eq!(root.attributes["http.response.status_code"], "302 as a number");
        assert_eq!(root.attributes["http.route"], "/{slug}");
        assert!(spans.iter().all(|span| !span.failed));
        assert_eq!(root.resource["service.name"], "curtail");
        assert_eq!(root.resource["gcp.project_id"], "my-project");
        let memory = children(&spans, root);
        assert!(memory.iter().any(|span| span.name == "memory get" && span.attributes["cache.hit"] == "true"), "{spans:#?}");
        let create = spans.iter().find(|span| span.name == "POST /api/v1/links").unwrap();
        let insert = children(&spans, create).into_iter().find(|span| span.name == "INSERT links").unwrap();
        let system = if backend == Backend::Postgres { "postgresql" } else { "sqlite" };
        assert_eq!((insert.kind, insert.attributes["db.system.name"].as_str()), (CLIENT, system));
        let line = log.iter().find(|line| line["httpRequest"]["status"] == 302).expect("a sampled redirect has a line");
        assert_eq!(line["logging.googleapis.com/trace"], format!("projects/my-project/traces/{TRACE}"));
        assert_eq!(line["logging.googleapis.com/spanId"], root.span_id);
        assert_eq!(line["logging.googleapis.com/trace_sampled"], true);
        assert_eq!(log.iter().filter(|line| line["httpRequest"]["status"] == 302).count(), 1);
        let everything = format!("{spans:?}{log:?}");
        assert!(!everything.contains("hunter2") && !everything.contains(ADMIN_KEY), "{everything}");
    }

    fn what_no_cache_has_is_a_span_of_the_store(backend) {
        let (ground, receiver) = (Ground::fresh(backend), Receiver::start());
        let writer = start(backend, &ground, "", &[]);
        create(&writer, "cold", "");
        stop(writer);
        let prefix = format!("{}other:", ground.redis_prefix());
        let curtail = start(backend, &ground, &receiver.url(), &[("REDIS_KEY_PREFIX", &prefix)]);

        visit(&curtail, "cold", &traceparent("01"));
        stop(curtail);

        let spans = receiver.spans();
        let root = spans.iter().find(|span| span.name == "GET /{slug}").unwrap();
        let below: BTreeSet<_> = children(&spans, root).into_iter().map(|span| span.name.as_str()).collect();
        assert!(below.contains("memory get") && below.contains("SELECT links"), "{below:?}");
        assert_eq!(below.contains("GETRANGE"), backend == Backend::Postgres, "{below:?}");
        assert_eq!(root.trace_id, TRACE);
    }

    fn a_batch_of_clicks_is_a_trace_of_its_own(backend) {
        let (ground, receiver) = (Ground::fresh(backend), Receiver::start());
        let curtail = start(backend, &ground, &receiver.url(), &[("OTEL_TRACES_SAMPLER", "always_on"), ("CLICK_FLUSH_MS", "60000")]);
        create(&curtail, "clicked", "");

        visit(&curtail, "clicked", "");
        stop(curtail);

        let spans = receiver.spans();
        let flush = spans.iter().find(|span| span.name == "clicks flush").expect("the flush of the stop is in time for the spans' own");
        assert_eq!((flush.parent_id.as_str(), flush.attributes["clicks"].as_str()), ("", "1 as a number"));
        let below: BTreeSet<_> = children(&spans, flush).into_iter().map(|span| span.name.as_str()).collect();
        assert_eq!(below, BTreeSet::from(["INSERT clicks", "INSERT visitor_secrets"]));
        let roots = spans.iter().filter(|span| span.parent_id.is_empty()).count();
        assert_eq!(roots, 3, "a create, a visit and a flush: {spans:#?}");
    }
}

#[test]
fn the_header_of_google_is_read_when_there_is_no_other() {
    let (ground, receiver) = (Ground::fresh(Backend::Sqlite), Receiver::start());
    let curtail = start(Backend::Sqlite, &ground, &receiver.url(), &[]);
    create(&curtail, "x", "");
    let google = format!("X-Cloud-Trace-Context: {TRACE}/13235353014750950193;o=1\r\n");
    let other = traceparent("01").replace(TRACE, &TRACE.replace('0', "2"));

    visit(&curtail, "x", &google);
    visit(&curtail, "x", &format!("{google}{other}"));
    stop(curtail);

    let spans = receiver.spans();
    let roots: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "GET /{slug}")
        .map(|span| (span.trace_id.clone(), span.parent_id.as_str()))
        .collect();
    assert_eq!(
        roots,
        [(TRACE.to_owned(), PARENT), (TRACE.replace('0', "2"), PARENT)]
    );
}

#[test]
fn the_state_of_other_tracing_systems_is_kept() {
    let (ground, receiver) = (Ground::fresh(Backend::Sqlite), Receiver::start());
    let curtail = start(Backend::Sqlite, &ground, &receiver.url(), &[]);
    create(&curtail, "x", "");

    visit(
        &curtail,
        "x",
        &format!(
            "{}tracestate: rojo=00f067aa0ba902b7, congo=t61rcWkgMzE\r\ntracestate: last=1\r\n",
            traceparent("01")
        ),
    );
    // A state that cannot be read does not cost the trace.
    let other = traceparent("01").replace(TRACE, &TRACE.replace('0', "2"));
    visit(&curtail, "x", &format!("{other}tracestate: no list at all\r\n"));
    stop(curtail);

    let spans = receiver.spans();
    assert!(
        spans.iter().filter(|span| span.trace_id == TRACE).count() > 1,
        "the caches have spans too: {spans:#?}"
    );
    for span in &spans {
        let kept = if span.trace_id == TRACE {
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,last=1"
        } else {
            ""
        };
        assert_eq!(span.state, kept, "{span:#?}");
    }
    assert!(spans.iter().any(|span| span.trace_id == TRACE.replace('0', "2")));
}

#[test]
fn a_request_that_is_not_sampled_names_its_trace_in_the_log() {
    let ground = Ground::fresh(Backend::Sqlite);
    let curtail = start(Backend::Sqlite, &ground, "", &[]);

    create(&curtail, "x", &traceparent("00"));
    let log = stop(curtail);

    let line = log
        .iter()
        .find(|line| line["httpRequest"]["status"] == 201)
        .unwrap();
    assert_eq!(
        line["logging.googleapis.com/trace"],
        format!("projects/my-project/traces/{TRACE}")
    );
    assert_eq!(line["logging.googleapis.com/spanId"], PARENT);
    assert_eq!(line["logging.googleapis.com/trace_sampled"], false);
}

#[test]
fn a_receiver_that_accepts_and_never_answers_harms_nobody() {
    let ground = Ground::fresh(Backend::Sqlite);
    // Its backlog accepts.
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", frozen.local_addr().unwrap());
    let settings = [("OTEL_TRACES_SAMPLER", "always_on")];
    let curtail = start(Backend::Sqlite, &ground, &endpoint, &settings);
    create(&curtail, "x", "");

    // Their lines must fit into the pipe that nobody reads yet.
    for _ in 0..40 {
        visit(&curtail, "x", "");
    }
    let began = Instant::now();
    let log = stop(curtail);

    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let warned = |line: &Value| line["severity"] == "WARNING";
    assert!(log.iter().any(warned), "that spans are lost is said: {log:?}");
}

/// `/app` had one id in its answer and another in the log, and two spans.
#[test]
fn the_list_of_links_has_one_span_and_one_id() {
    let (ground, receiver) = (Ground::fresh(Backend::Sqlite), Receiver::start());
    let settings = [("OTEL_TRACES_SAMPLER", "always_on")];
    let curtail = start(Backend::Sqlite, &ground, &receiver.url(), &settings);
    let paths = [
        "/app",
        "/app/",
        "/app/links/x",
        "/api/v1/links",
        "/api/v2",
        "/docs",
        "/x",
    ];

    let answers: Vec<String> = paths.iter().map(|path| curtail.get(path)).collect();
    let log = stop(curtail);

    let roots: Vec<_> = receiver
        .spans()
        .into_iter()
        .filter(|span| span.parent_id.is_empty())
        .collect();
    assert_eq!(roots.len(), paths.len(), "{roots:#?}");
    for (path, answer) in paths.iter().zip(answers) {
        let id = answer
            .split("x-request-id: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap();
        let lines: Vec<_> = log
            .iter()
            .filter(|line| line["httpRequest"]["requestUrl"] == *path)
            .collect();
        assert_eq!(lines.len(), 1, "{path}: {lines:?}");
        assert_eq!(lines[0]["request_id"], id, "{path}");
    }
}

#[test]
fn what_senders_may_decide_can_be_nothing() {
    let (ground, receiver) = (Ground::fresh(Backend::Sqlite), Receiver::start());
    let settings = [
        ("TRACE_REMOTE_PER_SECOND", "0"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let curtail = start(Backend::Sqlite, &ground, &receiver.url(), &settings);
    create(&curtail, "x", "");

    for _ in 0..20 {
        visit(&curtail, "x", &traceparent("01"));
    }
    let log = stop(curtail);

    assert_eq!(receiver.spans().len(), 0);
    assert!(
        !log.iter().any(|line| line["httpRequest"]["status"] == 302),
        "{log:?}"
    );
}
