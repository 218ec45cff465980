//! Breaks what the service stands on, while visitors keep coming, and looks into a ledger of every request and into
//! the database for what came of it. `scripts/rig` builds it and runs it; see there for how to call it.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "what goes wrong in the rig itself ends its row; its tasks end with it, and it exports nothing"
)]

pub(crate) mod bed;
mod client;
mod instance;
mod ledger;
mod load;
mod pooler;
mod proxy;
pub(crate) mod report;
pub(crate) mod rows;
mod servers;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bed::{Ground, Scale};
use report::{Check, Outcome};
use rows::{ROWS, Row};

/// The longest that a row may take. None takes as long.
const ROW_LIMIT: Duration = Duration::from_secs(240);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = arguments.iter().any(|argument| argument == "all");
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| {
            all || arguments
                .iter()
                .any(|argument| argument.eq_ignore_ascii_case(row.id))
        })
        .collect();
    let scale = if arguments.iter().any(|argument| argument == "--short") {
        Scale::Short
    } else {
        Scale::Full
    };
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.parent()?.join("curtail")))
        .unwrap();
    let outcomes = run(program, scale, &rows);
    println!("{}", report::table(&outcomes));
    if let Some(path) = servers::variable("RIG_JSON") {
        std::fs::write(path, format!("{:#}\n", report::json(&outcomes))).unwrap();
    }
    if rows.is_empty() || !outcomes.iter().all(Outcome::is_met) {
        std::process::exit(1);
    }
}

/// Runs rows one after another. One that panics has failed.
pub fn run(program: PathBuf, scale: Scale, rows: &[&Row]) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ground = Arc::new(Ground::new(program, scale).await);
        let mut outcomes = Vec::new();
        for row in rows {
            let began = Instant::now();
            let running = tokio::spawn((row.run)(Arc::clone(&ground)));
            let stop = running.abort_handle();
            let checks = match tokio::time::timeout(ROW_LIMIT, running).await {
                Ok(Ok(checks)) => checks,
                Ok(Err(_)) => vec![Check::that("ran to its end", "yes", "no", false)],
                Err(_) => {
                    stop.abort();
                    vec![Check::that("ended in time", "yes", "no", false)]
                }
            };
            ground.mend().await;
            let outcome = Outcome {
                id: row.id,
                title: row.title,
                checks,
                took: began.elapsed(),
            };
            eprint!("{}", report::table(std::slice::from_ref(&outcome)));
            outcomes.push(outcome);
        }
        outcomes
    })
}
