//! A panic costs one request, or one run of a task.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use curtail::domain::{Clock, Slug};
use curtail::service::{RandomSlugs, SlugSource};
use jiff::Timestamp;
use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::metrics::Figures;
use crate::on_both_stores;

/// Panics once, where it is told to.
#[derive(Debug, Default)]
struct Fuse(AtomicU8);

const REQUEST: u8 = 1;
const TASK: u8 = 2;

impl Fuse {
    fn arm(&self, place: u8) {
        self.0.store(place, Ordering::SeqCst);
    }

    fn pass(&self) {
        let here = match std::thread::current().name() {
            Some(name) if name.contains("actix") => REQUEST,
            _ => TASK,
        };
        let blown = self
            .0
            .compare_exchange(here, 0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        assert!(!blown, "provoked by a test");
    }
}

/// The clock of the test, behind a fuse.
#[derive(Debug)]
struct FusedClock(Arc<dyn Clock>, Arc<Fuse>);

impl Clock for FusedClock {
    fn now(&self) -> Timestamp {
        self.1.pass();
        self.0.now()
    }

    fn steady(&self) -> Timestamp {
        self.0.steady()
    }
}

/// Generates slugs, but for those that are to be 32 characters long.
#[derive(Debug)]
struct NoLongSlugs;

impl SlugSource for NoLongSlugs {
    fn slug(&self, length: u8) -> Slug {
        assert!(length < 32, "provoked by a test");
        RandomSlugs.slug(length)
    }
}

fn fused(backend: Backend, settings: &[(&str, &str)]) -> (TestApp, Arc<Fuse>) {
    let fuse = Arc::<Fuse>::default();
    let fused = Arc::clone(&fuse);
    let settings = [&[("METRICS_PORT", "0")], settings].concat();
    let app = TestApp::start_changed(backend, &settings, move |mut parts| {
        parts.clock = Arc::new(FusedClock(parts.clock, fused));
        parts.slugs = Arc::new(NoLongSlugs);
        parts
    });
    (app, fuse)
}

/// A connection that is kept.
struct Kept(TcpStream);

impl Kept {
    fn to(app: &TestApp) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(stream)
    }

    /// The head of an answer; its body is read too.
    fn get(&mut self, path: &str) -> String {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |number| number.parse().unwrap());
        self.0.read_exact(&mut vec![0; length]).unwrap();
        head
    }
}

on_both_stores! {
    fn a_redirect_that_panics_is_500_and_its_connection_goes_on(backend) {
        let (app, fuse) = fused(backend, &[]);
        app.create(json!({ "url": "https://example.org/", "slug": "here" }));
        let mut kept = Kept::to(&app);
        assert!(kept.get("/here").starts_with("http/1.1 302"));

        fuse.arm(REQUEST);
        let refused = kept.get("/here");
        let next = kept.get("/here");

        assert!(refused.starts_with("http/1.1 500"), "{refused}");
        assert!(refused.contains("x-request-id: ") && refused.contains("nosniff"), "{refused}");
        assert!(next.starts_with("http/1.1 302"), "{next}");
        fuse.arm(REQUEST);
        app.get("/here").assert_problem(500, "internal_error");
        fuse.arm(REQUEST);
        let page = app.send("GET", "/here", &[("accept", "text/html")], b"");
        assert_eq!(page.status, 500);
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
        let figures = Figures::of(&app);
        assert!(figures.get(r#"curtail_panics_total{where="request"}"#) >= 3.0);
        assert!(figures.get(r#"curtail_http_requests_total{route="/{slug}",method="GET",class="5xx"}"#) >= 3.0);
    }

    fn a_handler_that_panics_is_500_with_its_route(backend) {
        let (app, _fuse) = fused(backend, &[]);
        let body = json!({ "url": "https://example.org/", "length": 32 });

        let answer = app.api("POST", "/links", Some(&body));
        let next = app.api("POST", "/links", Some(&json!({ "url": "https://example.org/" })));

        answer.assert_problem(500, "internal_error");
        assert_eq!(next.status, 201, "{}", next.body);
        let figures = Figures::of(&app);
        let answered = r#"curtail_http_requests_total{route="/api/v1/links",method="POST",class="5xx"}"#;
        assert!(figures.get(answered) >= 1.0);
    }

    fn a_look_up_that_panics_is_500_for_its_visitor_and_the_next_one_looks_again(backend) {
        let app = TestApp::start(backend);
        let slugs: Vec<_> = (0..50).map(|number| format!("here-{number}")).collect();
        for slug in &slugs {
            app.create(json!({ "url": "https://example.org/", "slug": slug }));
        }
        let other_fuse = Arc::<Fuse>::default();
        let (fused, clock) = (Arc::clone(&other_fuse), app.clock.clone());
        let settings = [("REDIS_URL", ""), ("METRICS_PORT", "0")];
        let other = app.twin_changed(backend, &settings, move |mut parts| {
            parts.clock = Arc::new(FusedClock(clock, fused));
            parts
        });

        // Another task may tell the time first, and panics in its place.
        let refused = slugs.iter().find_map(|slug| {
            other_fuse.arm(TASK);
            let began = Instant::now();
            let answer = other.get(&format!("/{slug}"));
            assert!(began.elapsed() < Duration::from_secs(5), "nobody hangs");
            (answer.status != 302).then_some((slug, answer))
        });

        let (slug, refused) = refused.expect("a look-up panicked");
        refused.assert_problem(500, "internal_error");
        let next = other.get(&format!("/{slug}"));
        assert_eq!(next.status, 302, "{}", next.body);
        assert!(Figures::of(&other).get(r#"curtail_panics_total{where="task"}"#) >= 1.0);
    }

    fn clicks_survive_a_flush_that_panics(backend) {
        let (app, fuse) = fused(backend, &[("CLICK_FLUSH_MS", "20")]);
        app.create(json!({ "url": "https://example.org/", "slug": "here" }));
        let person = [("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")];
        let visit = || assert_eq!(app.send("GET", "/here", &person, b"").status, 302);
        visit();
        let mut visits = 1;

        // Another task may tell the time first, and panics in its place.
        while app.metrics.clicks.failed.get() == 0 {
            fuse.arm(TASK);
            visit();
            visits += 1;
        }
        fuse.arm(0);
        crate::clicks_api::settle(&app);

        assert_eq!(app.database.number("SELECT CAST(sum(clicks) AS bigint) FROM click_hours"), visits);
    }
}
