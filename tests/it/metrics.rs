//! `/metrics`: what an operator's Prometheus reads, from the real port.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use curtail::telemetry::metrics::{FAMILIES, Kind};
use rustix::process::Signal;
use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::ground::{Ground, Switch};
use crate::on_both_stores;
use crate::process::{Curtail, command};

/// Runs promtool, which is found or unpacked by a script.
pub fn promtool(arguments: &[&str], input: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/promtool");
    let mut child = Command::new(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// What was shown at one time: each figure by its name and labels, as they are written.
pub struct Figures {
    text: String,
    values: BTreeMap<String, f64>,
}

impl Figures {
    pub fn of(app: &TestApp) -> Self {
        let port = app.metrics_port.expect("the test sets METRICS_PORT");
        let url = format!("http://127.0.0.1:{port}/metrics");
        let text = ureq::get(url)
            .call()
            .unwrap()
            .body_mut()
            .read_to_string()
            .unwrap();
        let values = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect();
        Self { text, values }
    }

    /// A figure that must be there.
    #[track_caller]
    pub fn get(&self, name: &str) -> f64 {
        *self
            .values
            .get(name)
            .unwrap_or_else(|| panic!("there is no {name} in\n{}", self.text))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(|name| name.split('{').next().unwrap())
    }
}

/// Has Prometheus watch ten minutes of `before` and then some of `during`, and sees that an alert is silent in the one
/// and fires in the other.
#[track_caller]
fn assert_fires(alert: &str, before: &Figures, during: &Figures) {
    let series: Vec<_> = during
        .values
        .iter()
        .map(|(name, value)| {
            let old = before.values.get(name).copied().unwrap_or(0.0);
            json!({"series": name, "values": format!("{old}x9 {value}x10")})
        })
        .collect();
    let firing = format!("max(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
    let test = json!({
        "rule_files": [concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [
            {"expr": firing, "eval_time": "9m", "exp_samples": []},
            {"expr": firing, "eval_time": "13m", "exp_samples": [{"labels": "{}", "value": 1}]},
        ]}],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), test.to_string()).unwrap();

    let output = promtool(&["test", "rules", file.path().to_str().unwrap()], "");

    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{alert}: {}",
        String::from_utf8_lossy(&said)
    );
}

/// Asks until a figure is as wanted.
#[track_caller]
fn wait_for(app: &TestApp, name: &str, wanted: impl Fn(f64) -> bool) -> Figures {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let figures = Figures::of(app);
        if wanted(figures.get(name)) {
            return figures;
        }
        assert!(Instant::now() < deadline, "{name} is {}", figures.get(name));
        std::thread::yield_now();
    }
}

/// A service that shows its figures.
fn shown(backend: Backend, more: &[(&str, &str)]) -> TestApp {
    let settings = [&[("METRICS_PORT", "0")], more].concat();
    TestApp::start_with(backend, &settings)
}

/// Something of everything: links, redirects, unknown slugs, refusals, statistics.
fn work(app: &TestApp) {
    app.create(json!({"url": "https://example.org/", "slug": "busy"}));
    for _ in 0..3 {
        assert_eq!(app.get("/busy").status, 302);
    }
    assert_eq!(app.send("HEAD", "/busy", &[], b"").status, 302);
    assert_eq!(app.get("/unknown").status, 404);
    assert_eq!(app.get("/unknown").status, 429);
    assert_eq!(app.api("GET", "/links/busy", None).status, 200);
    assert_eq!(app.api("GET", "/links/busy/stats", None).status, 200);
    assert_eq!(app.api("GET", "/nowhere", None).status, 404);
    assert_eq!(app.api("DELETE", "/links/busy", None).status, 204);
}

on_both_stores! {
    fn every_documented_figure_is_there_and_prometheus_can_read_it(backend) {
        let app = shown(backend, &[("MISS_RATE_PER_MINUTE", "1")]);

        work(&app);
        let figures = wait_for(&app, "curtail_clicks_stored_total", |clicks| clicks == 3.0);
        let checked = promtool(&["check", "metrics"], &figures.text);

        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        for family in FAMILIES {
            let sample = match family.kind {
                Kind::Histogram => format!("{}_count", family.name),
                Kind::Counter | Kind::Gauge => family.name.to_owned(),
            };
            // Without Redis there is no breaker, and no node.
            let of_redis = ["curtail_redis_breaker_open", "curtail_redis_nodes"].contains(&family.name);
            if backend == Backend::Postgres || !of_redis {
                assert!(figures.names().any(|name| name == sample), "there is no {sample}");
            }
        }
    }

    fn the_figures_say_what_was_done(backend) {
        let app = shown(backend, &[("MISS_RATE_PER_MINUTE", "1")]);

        work(&app);
        wait_for(&app, "curtail_clicks_stored_total", |clicks| clicks == 3.0);
        // The connection goes back a moment after the clicks are counted.
        let in_use = r#"curtail_pool_connections_in_use{pool="write"}"#;
        let figures = wait_for(&app, in_use, |number| number == 0.0);

        for (name, value) in [
            (r#"curtail_http_requests_total{route="/{slug}",method="GET",class="3xx"}"#, 3.0),
            (r#"curtail_http_requests_total{route="/{slug}",method="HEAD",class="3xx"}"#, 1.0),
            (r#"curtail_http_requests_total{route="/{slug}",method="GET",class="4xx"}"#, 2.0),
            (r#"curtail_http_requests_total{route="/{slug}",method="GET",class="5xx"}"#, 0.0),
            (r#"curtail_http_requests_total{route="/api/v1/links",method="POST",class="2xx"}"#, 1.0),
            (r#"curtail_http_requests_total{route="/api/v1/links/{slug}/stats",method="GET",class="2xx"}"#, 1.0),
            (r#"curtail_http_requests_total{route="none",method="GET",class="4xx"}"#, 1.0),
            ("curtail_redirect_duration_seconds_count", 6.0),
            (r#"curtail_resolve_total{result="memory"}"#, 5.0),
            (r#"curtail_resolve_total{result="absent"}"#, 1.0),
            (r#"curtail_rate_limited_total{budget="miss"}"#, 1.0),
            ("curtail_clicks_taken_total", 3.0),
            ("curtail_clicks_dropped_total", 0.0),
            ("curtail_click_buffer_clicks", 0.0),
            ("curtail_click_buffer_max_clicks", 65_536.0),
            (r#"curtail_statement_duration_seconds_count{statement="insert_link"}"#, 1.0),
            (r#"curtail_statement_duration_seconds_count{statement="redirect"}"#, 1.0),
            (r#"curtail_pool_timeouts_total{pool="read"}"#, 0.0),
        ] {
            assert!((figures.get(name) - value).abs() < f64::EPSILON, "{name} is {}", figures.get(name));
        }
        assert!(figures.get("curtail_redirect_duration_seconds_sum") > 0.0);
        assert!(figures.get("process_resident_memory_bytes") > 1e6);
        assert!(figures.get("process_open_fds") > 3.0);
        assert!(figures.get("process_max_fds") >= figures.get("process_open_fds"));
    }

    /// A label that a stranger can fill costs memory here and money in every Prometheus.
    fn what_strangers_send_makes_no_new_figures(backend) {
        let app = shown(backend, &[]);
        let series = || {
            let figures = Figures::of(&app);
            figures.values.into_keys().filter(|name| name.contains("_http_")).collect::<Vec<_>>()
        };
        let send = |number: u8| {
            app.get(&format!("/no-such-{number}"));
            app.get(&format!("/a/b/{number}"));
            app.send(&format!("BREW{number}"), "/x", &[], b"");
            app.get(&format!("/api/v1/no-such-{number}"));
            app.get(&format!("/api/v1/links/no-such-{number}"));
        };
        send(0);
        let before = series();

        (1..20).for_each(send);

        assert_eq!(series(), before);
    }

    fn visitors_do_not_see_the_figures(backend) {
        let app = shown(backend, &[]);
        let port = app.metrics_port.unwrap();

        assert_eq!(app.get("/metrics").status, 404);
        let elsewhere = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let redirect = elsewhere.get(format!("http://127.0.0.1:{port}/busy")).call().unwrap();
        let page = elsewhere.get(format!("http://127.0.0.1:{port}/metrics")).call().unwrap();

        assert_eq!(redirect.status(), 404, "nor does the port of the figures redirect");
        assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(TestApp::start(backend).metrics_port, None, "nothing listens unless it is asked for");
    }
}

#[test]
fn a_lost_cache_shows() {
    let switch = Switch::before_redis();
    let redis = switch.redis_url();
    let app = shown(
        Backend::Postgres,
        &[("REDIS_URL", &redis), ("MEMORY_CACHE_MIB", "0")],
    );
    app.create(json!({"url": "https://example.org/", "slug": "seen"}));
    let open = r#"curtail_redis_breaker_open{connection="links"}"#;
    let before = Figures::of(&app);
    assert!(before.get(open) < 0.5);

    switch.cut();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Figures::of(&app).get(open) < 0.5 {
        assert_eq!(app.get("/seen").status, 302, "visitors do not notice");
        assert!(Instant::now() < deadline, "the breaker does not open");
    }
    app.get("/seen");
    let lost = Figures::of(&app);
    switch.heal();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Figures::of(&app).get(open) > 0.5 {
        app.get("/seen");
        assert!(Instant::now() < deadline, "the breaker does not close");
    }

    assert!(lost.get("curtail_redis_errors_total") >= 5.0);
    assert!(lost.get("curtail_redis_refused_total") >= 1.0);
    assert!((lost.get("curtail_redis_breaker_opened_total") - 1.0).abs() < f64::EPSILON);
    assert!(lost.get(r#"curtail_resolve_total{result="store"}"#) >= 1.0);
    assert_fires("CurtailCacheLost", &before, &lost);
}

#[test]
fn dropped_clicks_and_redirects_without_a_store_show() {
    let switch = Switch::before_postgres();
    let database = Arc::new(Ground::through(&switch));
    let settings = [
        ("METRICS_PORT", "0"),
        ("CLICK_BUFFER", "2"),
        ("REDIS_URL", ""),
        ("MEMORY_CACHE_SECONDS", "600"),
    ];
    let app = TestApp::start_on(Backend::Postgres, database, &settings);
    // Clicks of one link would be folded into one.
    for slug in ["hot", "warm", "mild"] {
        app.create(json!({"url": "https://example.org/", "slug": slug}));
    }
    let before = Figures::of(&app);

    switch.cut();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Figures::of(&app).get("curtail_clicks_dropped_total") < 1.0 {
        for path in ["/hot", "/warm", "/mild"] {
            assert_eq!(app.get(path).status, 302);
        }
        assert!(Instant::now() < deadline, "no click is dropped");
    }
    assert_eq!(app.get("/cold").status, 503);
    let figures = wait_for(&app, "curtail_click_batches_failed_total", |batches| {
        batches >= 1.0
    });
    switch.heal();

    let failures = r#"curtail_http_requests_total{route="/{slug}",method="GET",class="5xx"}"#;
    assert!(figures.get(failures) >= 1.0);
    assert!(figures.get(r#"curtail_resolve_total{result="failed"}"#) >= 1.0);
    assert_fires("CurtailClicksDropped", &before, &figures);
    assert_fires("CurtailRedirectsFail", &before, &figures);
}

#[test]
fn an_exhausted_pool_shows() {
    let app = shown(
        Backend::Postgres,
        &[("DATABASE_POOL_SIZE", "2"), ("REDIS_URL", "")],
    );
    app.create(json!({"url": "https://example.org/", "slug": "slow"}));
    let before = Figures::of(&app);
    let timeouts = r#"curtail_pool_timeouts_total{pool="read"}"#;

    let worst = std::thread::scope(|scope| {
        // Holds up whoever reads the table, and so the one connection that reads.
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held = Arc::clone(&app.database);
        scope.spawn(move || held.hold("LOCK TABLE links IN ACCESS EXCLUSIVE MODE", &released));
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut slugs = (0..).map(|number| format!("/held-up-{number}"));
        while Figures::of(&app).get(timeouts) < 1.0 {
            // New ones each time: what was asked for before the table was held up is known to be nothing.
            let askers = slugs.by_ref().take(8).map(|slug| {
                let app = &app;
                scope.spawn(move || app.get(&slug).status)
            });
            for asker in askers.collect::<Vec<_>>() {
                let _ = asker.join();
            }
            assert!(Instant::now() < deadline, "no operation waits in vain");
        }
        let worst = Figures::of(&app);
        release.send(()).unwrap();
        worst
    });

    assert!((worst.get(r#"curtail_pool_connections_max{pool="read"}"#) - 1.0).abs() < f64::EPSILON);
    assert!(worst.get(r#"curtail_statement_errors_total{statement="redirect"}"#) >= 1.0);
    let back = wait_for(&app, r#"curtail_pool_waiting{pool="read"}"#, |waiting| {
        waiting == 0.0
    });
    assert!(back.get(timeouts) >= 1.0);
    assert_fires("CurtailPoolExhausted", &before, &worst);
}

#[test]
fn a_port_for_figures_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();

    let mut command = command(&[("PORT", "0"), ("METRICS_PORT", &port)]);
    let ended = command
        .arg("serve")
        .current_dir(directory.path())
        .output()
        .unwrap();

    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!(
            "METRICS_PORT {port} on METRICS_ADDRESS 127.0.0.1 cannot be listened on"
        )),
        "{said}"
    );
}

#[test]
fn the_figures_stay_until_the_stop_and_do_not_hold_it_up() {
    let directory = tempfile::tempdir().unwrap();
    let curtail = Curtail::start_in(directory.path(), &[("PORT", "0"), ("METRICS_PORT", "0")]);
    let began = Instant::now();

    curtail.signal(Signal::INT);
    let (code, _) = curtail.wait();

    assert_eq!(code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
