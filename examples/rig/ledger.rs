//! Every request and what became of it. Times are counted from the moment a request was meant to be sent, so that
//! a stall is paid for by all who met it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::client::{Answer, Fault};

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of few links that most visitors ask for.
    Hot,
    /// One of many links, each of which was asked for before.
    Warm,
    /// A link that nobody has asked for yet.
    Cold,
    /// A slug without a link.
    Unknown,
    /// A new link.
    Create,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: Kind,
    pub intended: Instant,
    pub ended: Instant,
    pub outcome: Result<u16, Fault>,
    /// Whether the answer is the one that the link has, as far as it is one.
    pub right: bool,
    /// The number of the create, which is in its target and its idempotency key.
    pub number: u64,
}

impl Entry {
    pub fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.intended)
    }

    pub fn is(&self, status: u16) -> bool {
        self.outcome == Ok(status)
    }

    /// No answer, or one that says the service is at fault.
    pub fn is_error(&self) -> bool {
        self.outcome.is_err() || self.outcome.is_ok_and(|status| status >= 500)
    }
}

/// All requests of a run.
#[derive(Debug)]
pub struct Ledger {
    pub began: Instant,
    entries: Mutex<Vec<Entry>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            entries: Mutex::default(),
        }
    }
}

impl Ledger {
    pub fn add(&self, entry: Entry) {
        self.entries.lock().unwrap().push(entry);
    }

    pub fn select(&self, wanted: impl Fn(&Entry) -> bool) -> Selection {
        let entries = self.entries.lock().unwrap();
        let mut entries: Vec<Entry> = entries.iter().filter(|entry| wanted(entry)).cloned().collect();
        entries.sort_by_key(|entry| entry.intended);
        Selection(entries)
    }

    /// The requests of a kind that were meant to be sent in a span.
    pub fn within(&self, kinds: &[Kind], from: Instant, to: Instant) -> Selection {
        self.select(|entry| kinds.contains(&entry.kind) && entry.intended >= from && entry.intended < to)
    }
}

/// Some of the requests, in the order of their times.
#[derive(Debug, Clone)]
pub struct Selection(pub Vec<Entry>);

impl Selection {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn count(&self, wanted: impl Fn(&Entry) -> bool) -> usize {
        self.0.iter().filter(|entry| wanted(entry)).count()
    }

    /// The time within which this share was answered.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self.0.iter().map(Entry::took).collect();
        times.sort();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list"
        )]
        let place = (times.len() as f64 * share).ceil() as usize;
        times.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    pub fn longest(&self) -> Duration {
        self.quantile(1.0)
    }

    /// What went wrong, counted.
    pub fn outcomes(&self) -> String {
        let mut counts = std::collections::BTreeMap::new();
        for entry in &self.0 {
            let name = match entry.outcome {
                Ok(status) => status.to_string(),
                Err(fault) => format!("{fault:?}").to_lowercase(),
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
            .iter()
            .map(|(name, count)| format!("{name} x {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The outcome of an answer.
pub fn outcome(answer: &Result<Answer, Fault>) -> Result<u16, Fault> {
    answer
        .as_ref()
        .map(|answer| answer.status)
        .map_err(|fault| *fault)
}
