//! The service on a free port, a fresh database and a clock that the test moves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use curtail::app::{Application, Parts, StartError};
use curtail::config::{Config, Env};
use curtail::domain::{ManualClock, Slug};
use curtail::service::{RandomSlugs, SlugSource};
use curtail::telemetry::metrics::Metrics;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::ground::Ground;
use crate::redis_server;

/// The key with every scope.
pub const ADMIN_KEY: &str = "test-admin-key-of-30-characters";

/// What the service under test stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// SQLite, memory cache.
    Sqlite,
    /// Postgres, memory cache and Redis.
    Postgres,
}

/// A running service. It stops when this is dropped.
pub struct TestApp {
    pub port: u16,
    pub metrics_port: Option<u16>,
    pub clock: Arc<ManualClock>,
    pub slugs: Arc<ScriptedSlugs>,
    pub metrics: Arc<Metrics>,
    pub database: Arc<Ground>,
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl TestApp {
    pub fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[])
    }

    /// With settings of its own. An empty value takes a setting away.
    pub fn start_with(backend: Backend, settings: &[(&str, &str)]) -> Self {
        Self::start_on(backend, Arc::new(Ground::fresh(backend)), settings)
    }

    /// A further instance on the same database and the same clock.
    pub fn twin(&self, backend: Backend, settings: &[(&str, &str)]) -> Self {
        Self::run(
            backend,
            Arc::clone(&self.database),
            Arc::clone(&self.clock),
            settings,
        )
    }

    pub fn start_on(backend: Backend, database: Arc<Ground>, settings: &[(&str, &str)]) -> Self {
        Self::run(backend, database, Arc::default(), settings)
    }

    /// A further instance with parts that `change` has replaced.
    pub fn twin_changed(
        &self,
        backend: Backend,
        settings: &[(&str, &str)],
        change: impl FnOnce(Parts) -> Parts,
    ) -> Self {
        let (database, clock) = (Arc::clone(&self.database), Arc::clone(&self.clock));
        Self::run_changed(backend, database, clock, settings, change)
    }

    /// With parts that `change` has replaced.
    pub fn start_changed(
        backend: Backend,
        settings: &[(&str, &str)],
        change: impl FnOnce(Parts) -> Parts,
    ) -> Self {
        let database = Arc::new(Ground::fresh(backend));
        Self::run_changed(backend, database, Arc::default(), settings, change)
    }

    fn run(
        backend: Backend,
        database: Arc<Ground>,
        clock: Arc<ManualClock>,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::run_changed(backend, database, clock, settings, |parts| parts)
    }

    fn run_changed(
        backend: Backend,
        database: Arc<Ground>,
        clock: Arc<ManualClock>,
        settings: &[(&str, &str)],
        change: impl FnOnce(Parts) -> Parts,
    ) -> Self {
        let mut variables = vec![
            ("PORT".to_owned(), "0".to_owned()),
            ("LISTEN_ADDRESS".to_owned(), "127.0.0.1".to_owned()),
            ("ADMIN_API_KEY".to_owned(), ADMIN_KEY.to_owned()),
            // The clock stands still, so no budget would ever come back.
            ("CREATE_RATE_PER_MINUTE".to_owned(), "0".to_owned()),
            ("MISS_RATE_PER_MINUTE".to_owned(), "0".to_owned()),
            ("WRONG_KEY_RATE_PER_MINUTE".to_owned(), "1000000".to_owned()),
            ("DATABASE_URL".to_owned(), database.url().to_owned()),
        ];
        if backend == Backend::Postgres {
            variables.push(("REDIS_URL".to_owned(), redis_server::needed("TEST_REDIS_URL")));
            variables.push(("REDIS_KEY_PREFIX".to_owned(), database.redis_prefix().to_owned()));
        }
        variables.extend(
            settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        // A later value replaces an earlier one, and an empty one takes it away.
        let variables: std::collections::BTreeMap<_, _> = variables.into_iter().collect();
        let mut env = Env::from_pairs(variables.into_iter().filter(|(_, value)| !value.is_empty()));
        let config = Config::read(&mut env);
        env.finish().unwrap();

        let (slugs, metrics) = (Arc::<ScriptedSlugs>::default(), Arc::<Metrics>::default());
        let parts = change(Parts {
            clock: clock.clone(),
            slugs: slugs.clone(),
            metrics: metrics.clone(),
            ..Parts::default()
        });
        let (stop, stopped) = oneshot::channel();
        let (started, ports) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let application = Application::build(config, parts).await.unwrap();
                started
                    .send((application.port(), application.metrics_port()))
                    .unwrap();
                match application.run(async { stopped.await.unwrap_or_default() }).await {
                    // A test that ends while its database is down.
                    Ok(()) | Err(StartError::ClicksLost(_)) => {}
                    Err(err) => panic!("{err}"),
                }
            });
        });
        let (port, metrics_port) = ports
            .recv_timeout(Duration::from_secs(20))
            .expect("the service did not start");
        Self {
            port,
            metrics_port,
            clock,
            slugs,
            metrics,
            database,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sends a request with headers and a body.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = if body.is_empty() {
            agent.run(request.body(()).unwrap())
        } else {
            agent.run(
                agent
                    .configure_request(request.body(body).unwrap())
                    .allow_non_standard_methods(true)
                    .build(),
            )
        };
        Answer::of(response.unwrap())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A request of the API, with the key of every scope.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let key = format!("Bearer {ADMIN_KEY}");
        let headers = [
            ("authorization", key.as_str()),
            ("content-type", "application/json"),
        ];
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(
            method,
            &format!("/api/v1{path}"),
            if body.is_empty() { &headers[..1] } else { &headers },
            body.as_bytes(),
        )
    }

    /// Makes a link and answers its object.
    pub fn create(&self, body: Value) -> Value {
        let answer = self.api("POST", "/links", Some(&body));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    }

    /// Stops the service and waits for its end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(Duration::ZERO);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the service panicked");
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.end();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub bytes: Vec<u8>,
    headers: ureq::http::HeaderMap,
}

impl Answer {
    fn of(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let bytes = response.body_mut().read_to_vec().unwrap_or_default();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Every line of a header.
    pub fn headers_called(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.get_all(name).iter();
        lines.map(|value| value.to_str().unwrap()).collect()
    }

    pub fn header_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {}", self.body))
    }

    /// Asserts that this is a problem, whole and of the right form.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}",
            self.body
        );
        let problem = self.json();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:curtail:problem:{code}"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(problem.get("errors").is_some(), status == 422);
        problem
    }

    /// The `pointer code` pairs of a 422.
    pub fn faults(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let pair = |fault: &Value| {
            format!(
                "{} {}",
                fault["pointer"].as_str().unwrap(),
                fault["code"].as_str().unwrap()
            )
        };
        errors.iter().map(pair).collect()
    }
}

/// Slugs that the test wrote down, then random ones.
#[derive(Debug, Default)]
pub struct ScriptedSlugs {
    script: Mutex<VecDeque<&'static str>>,
    pub lengths: Mutex<Vec<u8>>,
}

impl ScriptedSlugs {
    pub fn script(&self, slugs: &[&'static str]) {
        self.script.lock().unwrap().extend(slugs);
    }
}

impl SlugSource for ScriptedSlugs {
    fn slug(&self, length: u8) -> Slug {
        self.lengths.lock().unwrap().push(length);
        match self.script.lock().unwrap().pop_front() {
            Some(text) => text.parse().unwrap(),
            None => RandomSlugs.slug(length),
        }
    }
}

/// Runs one test on each store, as two tests of their own.
#[macro_export]
macro_rules! on_both_stores {
    ($($(#[$attribute:meta])* fn $name:ident($backend:ident) $body:block)+) => { $(
        mod $name {
            use super::*;

            fn run($backend: $crate::app::Backend) $body

            #[test]
            fn sqlite() {
                run($crate::app::Backend::Sqlite);
            }

            #[test]
            fn postgres() {
                run($crate::app::Backend::Postgres);
            }
        }
    )+ };
}
