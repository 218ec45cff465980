//! Cloud Run with one to a thousand instances under visits that follow Zipf's law: who answers, what Redis and Postgres have
//! to do, and what it costs. `scripts/simulate` builds it and runs it; see there for how to call it. docs/SCALE.md has the
//! tables that it prints, and what they mean.

#![expect(unreachable_pub, reason = "a program exports nothing")]

mod clicks;
mod cost;
pub(crate) mod fleet;
pub(crate) mod model;
pub(crate) mod parameters;
pub(crate) mod popularity;
pub(crate) mod proof;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod room;
pub(crate) mod scenarios;

use std::process::ExitCode;

use parameters::Parameters;

fn main() -> ExitCode {
    match Asked::read(std::env::args().skip(1)) {
        Ok(asked) => {
            print!("{}", tables(&asked));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("simulate: {fault}");
            ExitCode::from(2)
        }
    }
}

/// What was asked for.
#[derive(Debug, Default)]
pub struct Asked {
    /// What it starts from.
    pub parameters: Parameters,
    /// What chance starts from.
    pub seed: u64,
}

impl Asked {
    /// Reads the arguments.
    pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self {
            seed: 1,
            ..Self::default()
        };
        while let Some(argument) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{argument} lacks a value"))?;
            match argument.as_str() {
                "--seed" => {
                    asked.seed = value.parse().map_err(|_| format!("{value:?} is no seed"))?;
                }
                "--set" => asked.parameters.assign(&value)?,
                _ => return Err(format!("{argument} is not known")),
            }
        }
        asked.parameters.check()?;
        Ok(asked)
    }
}

/// Every table.
pub fn tables(asked: &Asked) -> String {
    let Asked { parameters, seed } = asked;
    let bins = popularity::bins(parameters.links, parameters.exponent, report::FINE);
    let cases = report::cases(parameters, &bins);
    let parts = [
        ("Parameters", parameters.table()),
        ("Who answers", report::layers(parameters, &cases)),
        (
            "The model beside a replay",
            proof::held_against(parameters, &bins, &cases, *seed),
        ),
        (
            "The model beside a replay of a whole, small system",
            proof::whole_systems(parameters, *seed),
        ),
        (
            "What moves it",
            report::changed(parameters, (parameters.rate / 1e3).max(1.0)),
        ),
        ("Links that fit into memory", report::fitting(parameters)),
        ("Changes of links", report::changes(parameters)),
        ("Connections", report::connections(parameters, &cases)),
        ("Clicks", report::click_load(parameters, &bins, &cases)),
        (
            "Scaling",
            report::ramps(parameters, &scenarios::scenarios(parameters)),
        ),
        (
            "Dollars for a million redirects",
            report::costs(parameters, &cases),
        ),
    ];
    parts
        .iter()
        .map(|(title, table)| format!("### {title}\n\n{table}\n"))
        .collect()
}
