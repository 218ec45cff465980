//! What a row came to, as a table and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// One thing that a row measures.
#[derive(Debug, Clone)]
pub struct Check {
    pub what: String,
    pub target: String,
    pub figure: String,
    pub met: bool,
    /// A time or a rate, which depends on the machine.
    pub of_speed: bool,
}

impl Check {
    /// A count that has to be exactly this.
    pub fn exactly(what: &str, target: usize, figure: usize) -> Self {
        Self::that(what, &target.to_string(), &figure.to_string(), target == figure)
    }

    /// Something that holds or does not.
    pub fn that(what: &str, target: &str, figure: &str, met: bool) -> Self {
        Self {
            what: what.to_owned(),
            target: target.to_owned(),
            figure: figure.to_owned(),
            met,
            of_speed: false,
        }
    }

    /// A time that must not be longer.
    pub fn at_most(what: &str, target: Duration, figure: Duration) -> Self {
        let mut check = Self::that(
            what,
            &format!("<= {}", text(target)),
            &text(figure),
            figure <= target,
        );
        check.of_speed = true;
        check
    }

    /// A time that must not be longer on any machine: the service promises it.
    pub fn bound(what: &str, target: Duration, figure: Duration) -> Self {
        let mut check = Self::at_most(what, target, figure);
        check.of_speed = false;
        check
    }

    /// A speed, in words.
    pub fn speed(what: &str, target: &str, figure: &str, met: bool) -> Self {
        let mut check = Self::that(what, target, figure, met);
        check.of_speed = true;
        check
    }
}

/// A time in milliseconds.
pub fn text(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis >= 100.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{millis:.1} ms")
    }
}

/// A row with its checks.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub id: &'static str,
    pub title: &'static str,
    pub checks: Vec<Check>,
    pub took: Duration,
}

impl Outcome {
    pub fn is_met(&self) -> bool {
        self.checks.iter().all(|check| check.met)
    }
}

/// The table, in Markdown.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut out = String::from("| row | what | target | figure | |\n| --- | --- | --- | --- | --- |\n");
    for outcome in outcomes {
        let verdict = if outcome.is_met() { "met" } else { "**not met**" };
        let _ = writeln!(
            out,
            "| **{}** | **{}** | | {:.0} s | {verdict} |",
            outcome.id,
            outcome.title,
            outcome.took.as_secs_f64()
        );
        for check in &outcome.checks {
            let verdict = if check.met { "" } else { "not met" };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {verdict} |",
                outcome.id, check.what, check.target, check.figure
            );
        }
    }
    out
}

/// The same as JSON.
pub fn json(outcomes: &[Outcome]) -> Value {
    let rows = outcomes.iter().map(|outcome| {
        let checks: Vec<Value> = outcome
            .checks
            .iter()
            .map(|check| {
                json!({"what": check.what, "target": check.target, "figure": check.figure, "met": check.met})
            })
            .collect();
        json!({"row": outcome.id, "title": outcome.title, "met": outcome.is_met(),
            "seconds": outcome.took.as_secs_f64(), "checks": checks})
    });
    Value::Array(rows.collect())
}
