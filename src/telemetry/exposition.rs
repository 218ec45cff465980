//! The figures as Prometheus reads them: <https://prometheus.io/docs/instrumenting/exposition_formats/>, 0.0.4.

use std::fmt::Write;

use jiff::Timestamp;

use super::figures::{BOUNDS, CLASSES, Counter, Distribution, METHODS};
use super::metrics::{
    BREAKER_OPEN, BREAKER_OPENED, BUILD_INFO, CACHE_ERRORS, CACHE_REFUSED, CACHE_REJECTED, CHANGES_AGE,
    CHANGES_APPLIED, CHANGES_FAILED, CHANGES_REFUSED, CLICK_BATCHES_FAILED, CLICKS_BOUND, CLICKS_DROPPED,
    CLICKS_FOLDED, CLICKS_IN_DEFAULT, CLICKS_REFUSED, CLICKS_STORED, CLICKS_TAKEN, CLICKS_WAITING, CPU,
    Family, KEY_EXPIRY, LIMITED, MAINTAINED, MAX_FDS, Metrics, OPEN_FDS, PANICS, POOL_IN_USE, POOL_MAX,
    POOL_OPEN, POOL_TIMEOUTS, POOL_WAITING, REDIRECT_DURATION, REDIS_NODES, REQUESTS, RESIDENT, RESOLVE,
    SHED, STARTED, STATEMENT_DURATION, STATEMENT_ERRORS, STATEMENTS_CANCELLED, THREADS, VIRTUAL,
};
use super::process::Process;

/// What the answer says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route of redirects, as it is shown.
const REDIRECT_ROUTE: &str = "/{slug}";

/// What runs here.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The version of the build.
    pub version: &'static str,
    /// The commit it was built from.
    pub git_commit: &'static str,
    /// The kind of the store.
    pub store: &'static str,
    /// The kind of the shared cache.
    pub cache: &'static str,
    /// When it was started.
    pub started: Timestamp,
}

/// Every figure, as text.
#[must_use]
pub fn page(metrics: &Metrics, about: &About) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    let build = [about.version, about.git_commit, about.store, about.cache];
    page.family(&BUILD_INFO, [(build.as_slice(), 1.0)]);
    requests(&mut page, metrics);
    let redirects = Distribution::of(metrics.http.redirects.all().map(|redirects| &redirects.latency));
    page.histogram(&REDIRECT_DURATION, [("", redirects)]);
    let resolve = &metrics.resolve;
    page.counters(
        &RESOLVE,
        &[
            ("memory", &resolve.memory),
            ("redis", &resolve.shared),
            ("store", &resolve.store),
            ("absent", &resolve.absent),
            ("stale", &resolve.stale),
            ("failed", &resolve.failed),
        ],
    );
    let shared = &metrics.shared_cache;
    page.counter(&CACHE_ERRORS, &shared.failed);
    page.counter(&CACHE_REFUSED, &shared.refused);
    page.counter(&CACHE_REJECTED, &shared.rejected);
    page.counter(&BREAKER_OPENED, &shared.opened);
    for family in [&BREAKER_OPEN, &REDIS_NODES, &CHANGES_AGE] {
        page.watched(family, metrics);
    }
    page.counter(&CHANGES_FAILED, &metrics.changes.failed);
    page.counter(&CHANGES_APPLIED, &metrics.changes.applied);
    page.counter(&CHANGES_REFUSED, &metrics.changes.refused);
    for family in [&POOL_MAX, &POOL_OPEN, &POOL_IN_USE, &POOL_WAITING] {
        page.watched(family, metrics);
    }
    let timeouts = metrics.pool_timeouts.all();
    let timeouts: Vec<(&str, &Counter)> = timeouts
        .iter()
        .map(|(pool, number)| (pool.as_str(), &**number))
        .collect();
    page.counters(&POOL_TIMEOUTS, &timeouts);
    let cancelled = &metrics.cancelled;
    page.counters(
        &STATEMENTS_CANCELLED,
        &[("ended", &cancelled.ended), ("unknown", &cancelled.unknown)],
    );
    statements(&mut page, metrics);
    let clicks = &metrics.clicks;
    page.counter(&CLICKS_TAKEN, &clicks.taken);
    page.counter(&CLICKS_STORED, &clicks.stored);
    page.counter(&CLICKS_DROPPED, &clicks.dropped);
    page.counter(&CLICKS_REFUSED, &clicks.refused);
    let folded = clicks.folded.all();
    let folded: Vec<(&str, &Counter)> = folded
        .iter()
        .map(|(given_up, number)| (given_up.as_str(), &**number))
        .collect();
    page.counters(&CLICKS_FOLDED, &folded);
    page.counter(&CLICK_BATCHES_FAILED, &clicks.failed);
    page.watched(&CLICKS_WAITING, metrics);
    page.watched(&CLICKS_BOUND, metrics);
    let unpartitioned = clicks.in_default_partition() as f64;
    page.family(&CLICKS_IN_DEFAULT, [([].as_slice(), unpartitioned)]);
    let maintenance = &metrics.maintenance;
    for (family, moment) in [
        (&MAINTAINED, &maintenance.last_success),
        (&KEY_EXPIRY, &maintenance.next_key_expiry),
    ] {
        page.family(family, [([].as_slice(), moment.get() as f64)]);
    }
    let limited = &metrics.limited;
    page.counters(
        &LIMITED,
        &[
            ("create", &limited.create),
            ("miss", &limited.miss),
            ("key", &limited.key),
        ],
    );
    page.counter(&SHED, &metrics.shed);
    page.watched(&PANICS, metrics);
    process(&mut page, about);
    page.0
}

fn requests(page: &mut Page, metrics: &Metrics) {
    let mut samples = Vec::new();
    let routes = metrics.http.routes.all();
    for (method, method_name) in METHODS.iter().enumerate() {
        for (class, class_name) in CLASSES.iter().enumerate() {
            let redirects: u64 = metrics
                .http
                .redirects
                .all()
                .map(|redirects| redirects.answers.get(method, class))
                .sum();
            // Those that alerts are made of are there before the first of them: a series that begins with a failure
            // shows no increase.
            if redirects > 0 || (*method_name == "GET" && ["3xx", "4xx", "5xx"].contains(class_name)) {
                samples.push(([REDIRECT_ROUTE, *method_name, *class_name], redirects));
            }
            for (route, answers) in &routes {
                let number = answers.get(method, class);
                if number > 0 {
                    samples.push(([route.as_str(), *method_name, *class_name], number));
                }
            }
        }
    }
    page.family(
        &REQUESTS,
        samples
            .iter()
            .map(|(values, number)| (values.as_slice(), *number as f64)),
    );
}

fn statements(page: &mut Page, metrics: &Metrics) {
    let all = metrics.statements.all();
    page.histogram(
        &STATEMENT_DURATION,
        all.iter()
            .map(|(name, statement)| (name.as_str(), Distribution::of([&statement.latency]))),
    );
    let failed: Vec<(&str, &Counter)> = all
        .iter()
        .map(|(name, statement)| (name.as_str(), &statement.failed))
        .collect();
    page.counters(&STATEMENT_ERRORS, &failed);
}

fn process(page: &mut Page, about: &About) {
    let process = Process::read();
    for (family, value) in [
        (&CPU, process.cpu_seconds),
        (&RESIDENT, process.resident_bytes),
        (&VIRTUAL, process.virtual_bytes),
        (&OPEN_FDS, process.open_fds),
        (&MAX_FDS, process.max_fds),
        (&THREADS, process.threads),
        (&STARTED, Some(about.started.as_duration().as_secs_f64())),
    ] {
        page.family(family, value.map(|value| ([].as_slice(), value)));
    }
}

/// The text as far as it is written.
struct Page(String);

impl Page {
    /// A family with one figure for each list of its labels' values.
    fn family<'a>(&mut self, family: &Family, samples: impl IntoIterator<Item = (&'a [&'a str], f64)>) {
        self.head(family);
        for (values, value) in samples {
            self.sample(
                family.name,
                family.labels.iter().copied().zip(values.iter().copied()),
                value,
            );
        }
    }

    fn counter(&mut self, family: &Family, counter: &Counter) {
        self.family(family, [([].as_slice(), counter.get() as f64)]);
    }

    fn counters(&mut self, family: &Family, counters: &[(&str, &Counter)]) {
        self.head(family);
        for (value, counter) in counters {
            let labels = family.labels.iter().copied().zip([*value]);
            self.sample(family.name, labels, counter.get() as f64);
        }
    }

    fn watched(&mut self, family: &Family, metrics: &Metrics) {
        self.head(family);
        for (value, figure) in metrics.watched(family) {
            self.sample(family.name, family.labels.iter().copied().zip([value]), figure);
        }
    }

    /// A family of histograms, by the value of its label, if it has one.
    fn histogram<'a>(
        &mut self,
        family: &Family,
        histograms: impl IntoIterator<Item = (&'a str, Distribution)>,
    ) {
        self.head(family);
        let buckets = format!("{}_bucket", family.name);
        for (value, distribution) in histograms {
            let labels = || family.labels.iter().copied().zip([value]);
            let mut sum = 0;
            let bounds = BOUNDS.iter().map(|(text, _)| *text).chain(["+Inf"]);
            for (bound, number) in bounds.zip(distribution.buckets) {
                sum += number;
                self.sample(&buckets, labels().chain([("le", bound)]), sum as f64);
            }
            self.sample(&format!("{}_sum", family.name), labels(), distribution.seconds);
            self.sample(&format!("{}_count", family.name), labels(), sum as f64);
        }
    }

    fn head(&mut self, family: &Family) {
        let Family { name, kind, help, .. } = family;
        self.write(format_args!(
            "# HELP {name} {help}\n# TYPE {name} {}\n",
            kind.word()
        ));
    }

    fn sample<'a>(&mut self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64) {
        self.0.push_str(name);
        let mut open = '{';
        for (label, text) in labels {
            self.0.push(open);
            open = ',';
            self.write(format_args!("{label}=\""));
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    _ => self.0.push(character),
                }
            }
            self.0.push('"');
        }
        if open == ',' {
            self.0.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes every text");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{About, page};
    use crate::telemetry::metrics::{FAMILIES, Metrics, POOL_MAX};

    const ABOUT: About = About {
        version: "1.2.3",
        git_commit: "a\"b\\c\nd",
        store: "sqlite",
        cache: "none",
        started: Timestamp::UNIX_EPOCH,
    };

    #[test]
    fn every_family_is_on_the_page_once_and_in_its_order() {
        let text = page(&Metrics::default(), &ABOUT);

        let shown: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();

        assert_eq!(
            shown,
            FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>()
        );
    }

    #[test]
    fn figures_are_written_as_the_format_wants_them() {
        let metrics = Metrics::default();
        metrics.http.redirects.mine().answers.add_one("GET", 302);
        metrics
            .http
            .redirects
            .mine()
            .latency
            .observe(Duration::from_micros(20));
        metrics.http.routes.get("/api/v1/links").add_one("POST", 201);
        metrics.watch(&POOL_MAX, "read", || Some(3.0));
        metrics.watch(&POOL_MAX, "gone", || None);

        let text = page(&metrics, &ABOUT);

        for line in [
            r#"curtail_build_info{version="1.2.3",git_commit="a\"b\\c\nd",store="sqlite",cache="none"} 1"#,
            r#"curtail_http_requests_total{route="/{slug}",method="GET",class="3xx"} 1"#,
            r#"curtail_http_requests_total{route="/{slug}",method="GET",class="5xx"} 0"#,
            r#"curtail_http_requests_total{route="/api/v1/links",method="POST",class="2xx"} 1"#,
            r#"curtail_redirect_duration_seconds_bucket{le="0.00001"} 0"#,
            r#"curtail_redirect_duration_seconds_bucket{le="0.000025"} 1"#,
            r#"curtail_redirect_duration_seconds_bucket{le="+Inf"} 1"#,
            "curtail_redirect_duration_seconds_sum 0.00002",
            "curtail_redirect_duration_seconds_count 1",
            r#"curtail_pool_connections_max{pool="read"} 3"#,
            "process_start_time_seconds 0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert!(!text.contains("gone"), "{text}");
    }
}
