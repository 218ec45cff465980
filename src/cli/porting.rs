//! What `curtail import` and `curtail export` share: the links of the database, and a line that tells how far they are.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::domain::SystemClock;
use crate::lifecycle::Lifecycle;
use crate::service::{Blocklist, Links, RandomSlugs, Resolver};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::{cache, store};

/// Time for what a shared cache missed to land.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// The links, and what they stand on.
pub(super) struct Opened {
    pub(super) links: Links,
    store: Arc<dyn Store>,
    lifecycle: Lifecycle,
}

/// Opens the database, and the shared cache: links that are written over are made known to running instances.
pub(super) async fn open(config: &Config) -> Result<Opened, String> {
    let lifecycle = Lifecycle::new();
    let (clock, metrics) = (Arc::new(SystemClock), Arc::<Metrics>::default());
    let store = store::open(&config.store).await.map_err(|err| err.to_string())?;
    store.check().await.map_err(|err| err.to_string())?;
    let shared = cache::shared(&config.cache, Arc::clone(&metrics), clock.clone())?;
    let resolver = Resolver::new(
        &config.cache,
        None,
        shared,
        Arc::clone(&store),
        clock.clone(),
        metrics,
        lifecycle.clone(),
    );
    let links = Links::new(
        &config.links,
        Blocklist::new(&config.links.blocked_domains),
        Arc::clone(&store),
        resolver,
        Arc::new(RandomSlugs),
        clock,
        lifecycle.clone(),
    );
    Ok(Opened {
        links,
        store,
        lifecycle,
    })
}

impl Opened {
    pub(super) async fn close(self) {
        self.lifecycle.stop(LAST_WRITES).await;
        self.store.close().await;
    }
}

/// Time between two states of the line.
const OFTEN: Duration = Duration::from_millis(200);

/// A line on the terminal; nothing where there is none.
pub(super) struct Progress {
    done: &'static str,
    terminal: bool,
    start: Instant,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn start(done: &'static str) -> Self {
        Self {
            done,
            terminal: std::io::stderr().is_terminal(),
            start: Instant::now(),
            shown: None,
        }
    }

    /// How many links are done, and which part of the bytes.
    pub(super) fn show(&mut self, links: u64, part: Option<(u64, u64)>) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < OFTEN) {
            return;
        }
        self.shown = Some(Instant::now());
        let bar = part.map_or_else(String::new, |(bytes, all)| bar(bytes, all));
        self.write(&format!(
            "\r\x1b[K{bar}{links} {}, {}",
            self.done,
            self.rate(links)
        ));
    }

    /// Says something above the line.
    pub(super) fn say(&mut self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        self.write(&format!("{clear}{text}\n"));
    }

    pub(super) fn end(&self, links: u64) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let seconds = self.start.elapsed().as_secs_f64();
        let text = format!(
            "{clear}{links} links {} in {seconds:.1} s, {}\n",
            self.done,
            self.rate(links)
        );
        self.write(&text);
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn rate(&self, links: u64) -> String {
        format!(
            "{:.0}/s",
            links as f64 / self.start.elapsed().as_secs_f64().max(0.001)
        )
    }

    fn write(&self, text: &str) {
        // There is nobody to tell that nobody can be told.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// A bar of twenty cells.
fn bar(bytes: u64, all: u64) -> String {
    let percent = (bytes.saturating_mul(100) / all.max(1)).min(100);
    let full = usize::try_from(percent / 5).unwrap_or_default();
    format!("[{}{}] {percent} % ", "#".repeat(full), ".".repeat(20 - full))
}
