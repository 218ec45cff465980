//! Visits, again and again, of links that are disabled or deleted, and what each instance answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::ledger::{Entry, Kind, Ledger, Selection, outcome};
use super::load::Load;
use super::report::Check;

/// Within this time of its acknowledgement every instance answers by a change.
pub const BOUND: Duration = Duration::from_secs(5);

/// Visits of each link a second, at each instance.
const RATE: f64 = 20.0;

/// The visits, a load for each instance.
pub struct Watch {
    slugs: Arc<[String]>,
    loads: Vec<(String, Load)>,
}

impl Watch {
    /// Of these links, and of no instance yet.
    pub fn of(slugs: &[String]) -> Self {
        Self {
            slugs: slugs.into(),
            loads: Vec::new(),
        }
    }

    /// Visits every link at this instance too, from now on.
    pub fn add(&mut self, name: &str, client: &Arc<Client>) {
        let (slugs, client) = (Arc::clone(&self.slugs), Arc::clone(client));
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = RATE * slugs.len() as f64;
        let load = Load::of(rate, move |turn, intended, ledger| {
            let number = turn as usize % slugs.len();
            let (slug, client) = (slugs[number].clone(), Arc::clone(&client));
            async move { look(&client, &slug, number, intended, &ledger).await }
        });
        self.loads.push((name.to_owned(), load));
    }

    /// Ends the visits.
    pub async fn stop(self) -> Sights {
        let mut sights = Vec::new();
        for (name, load) in self.loads {
            sights.push((name, load.stop().await));
        }
        Sights {
            slugs: self.slugs,
            ledgers: sights,
        }
    }
}

/// Visits a link and writes down what came.
pub async fn look(client: &Client, slug: &str, number: usize, intended: Instant, ledger: &Ledger) {
    let answer = client.get(&format!("/{slug}")).await;
    ledger.add(Entry {
        kind: Kind::Hot,
        intended,
        ended: Instant::now(),
        outcome: outcome(&answer),
        right: true,
        number: number as u64,
    });
}

/// What each instance answered.
pub struct Sights {
    slugs: Arc<[String]>,
    ledgers: Vec<(String, Arc<Ledger>)>,
}

/// Whether an answer is of a link that is disabled or deleted.
pub fn is_new(entry: &Entry) -> bool {
    entry.is(404) || entry.is(410)
}

impl Sights {
    /// Each link was changed at its time, or not at all: from [`BOUND`] after that on, no instance redirects.
    pub fn of_changes(&self, changed: &[Option<Instant>]) -> Vec<Check> {
        let changed = |entry: &Entry| changed[usize::try_from(entry.number).unwrap()];
        let (mut oldest, mut bad, mut errors, mut settled) = (Duration::ZERO, 0, 0, 0);
        let mut found = Vec::new();
        let mut is_complete = true;
        for (name, ledger) in &self.ledgers {
            let after = ledger.select(|entry| changed(entry).is_some_and(|time| entry.intended >= time));
            for entry in after.0.iter().filter(|entry| entry.is(302)) {
                let age = entry.intended.saturating_duration_since(changed(entry).unwrap());
                oldest = oldest.max(age);
            }
            let late =
                ledger.select(|entry| changed(entry).is_some_and(|time| entry.intended >= time + BOUND));
            let wrong = late.count(|entry| entry.is(302));
            for (number, slug) in self.slugs.iter().enumerate() {
                let of_link: Vec<Entry> = late
                    .0
                    .iter()
                    .filter(|entry| entry.number == number as u64)
                    .cloned()
                    .collect();
                let of_link = Selection(of_link);
                let others = of_link.count(|entry| !is_new(entry));
                if others > 0 {
                    found.push(format!("{name}, {slug}: {}", of_link.outcomes()));
                }
            }
            is_complete &= late.len() > 0;
            settled += late.len();
            bad += wrong;
            errors += late.count(|entry| !is_new(entry)) - wrong;
        }
        let mut figure = format!("{bad} of {settled}");
        if !found.is_empty() {
            figure += &format!(" ({})", found.join("; "));
        }
        vec![
            Check::bound("the oldest redirect after a change", BOUND, oldest),
            Check::that(
                "answers from 5 s on that are of the old state",
                "0",
                &figure,
                bad == 0 && is_complete,
            ),
            Check::speed(
                "answers from 5 s on that are of neither state",
                "0",
                &errors.to_string(),
                errors == 0,
            ),
        ]
    }
}
