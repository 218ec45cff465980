//! The table, the verdicts and the JSON.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::load::Cell;
use crate::{Result, name};

/// What was measured, in the order it was.
pub struct Report {
    head: String,
    rates: Vec<String>,
    figures: Vec<String>,
    verdicts: Vec<String>,
    rows: Vec<Value>,
}

/// The middle value; of an even number, the lower of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// Whether rounds agree on which side of a target their median is: two standard deviations of tossed coins away from one
/// half above it (the sign test). What they do not agree on takes more rounds.
pub fn is_clear(values: &[f64], target: f64) -> bool {
    let above: f64 = values
        .iter()
        .map(|value| if *value >= target { 1.0 } else { -1.0 })
        .sum();
    above.abs() >= 2.0 * (values.len() as f64).sqrt()
}

/// The ratios of requests a second, a round each.
fn ratios(cells: &[Cell], base: &[Cell]) -> Vec<f64> {
    cells
        .iter()
        .zip(base)
        .map(|(cell, base)| cell.per_second / base.per_second)
        .collect()
}

/// The lowest and the highest value.
fn ends(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(*value), high.max(*value))
    })
}

/// The median of a figure of cells.
pub fn middle(cells: &[Cell], of: impl Fn(&Cell) -> f64) -> f64 {
    median(&cells.iter().map(of).collect::<Vec<_>>())
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

impl Report {
    pub fn new(program: &Path, rounds: usize, seconds: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split(": ").nth(1))
            .unwrap_or("unknown processor");
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let head = format!(
            "{cores} cores ({model}), load average {} at the start, {}; medians of {rounds} or more interleaved rounds of {seconds} s",
            load.split(' ').next().unwrap_or("?"),
            name(program),
        );
        Self {
            head,
            rates: Vec::new(),
            figures: Vec::new(),
            verdicts: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// A row of requests per second; its ratio is the median of the rounds' own ratios.
    pub fn rate(&mut self, name: &str, connections: u32, cells: &[Cell], base: &[Cell], target: Option<f64>) {
        let ratios = ratios(cells, base);
        let rounds = ratios.len();
        let (low, high) = ends(&ratios);
        let ratio = median(&ratios);
        let (goal, word) = match target {
            Some(target) => (format!(">= {target:.2}"), verdict(ratio >= target)),
            None => (String::new(), ""),
        };
        let (per_second, p50, p99, cpu) = (
            middle(cells, |cell| cell.per_second),
            middle(cells, |cell| cell.p50_us),
            middle(cells, |cell| cell.p99_us),
            middle(cells, |cell| cell.cpu),
        );
        self.rates.push(format!(
            "| {name} | {connections} | {per_second:.0} | {ratio:.2} | {low:.2} to {high:.2} in {rounds} | {goal} | {word} | {p50:.0} | {p99:.0} | {cpu:.2} |"
        ));
        self.note(&format!("{name}, {connections} connections"), word);
        self.rows.push(json!({
            "row": name, "connections": connections, "requests_per_second": per_second, "ratio": ratio, "ratio_low": low,
            "ratio_high": high, "rounds": rounds, "target": target, "verdict": word, "p50_us": p50, "p99_us": p99, "cpu_seconds_per_100000": cpu,
        }));
    }

    /// A figure that is to stay at or below its target: the median of its rounds.
    pub fn at_most(&mut self, name: &str, rounds: &[f64], target: f64, unit: &str) {
        let met = median(rounds) <= target;
        self.figure(name, rounds, &format!("<= {target}{unit}"), unit, met);
    }

    /// A figure that is to reach its target: the median of its rounds.
    pub fn at_least(&mut self, name: &str, rounds: &[f64], target: f64, unit: &str) {
        let met = median(rounds) >= target;
        self.figure(name, rounds, &format!(">= {target}{unit}"), unit, met);
    }

    fn figure(&mut self, name: &str, rounds: &[f64], target: &str, unit: &str, met: bool) {
        let (value, word) = (median(rounds), verdict(met));
        let (low, high) = ends(rounds);
        let spread = match rounds.len() {
            0 | 1 => String::new(),
            number => format!("{low:.2} to {high:.2} in {number}"),
        };
        self.figures.push(format!(
            "| {name} | {value:.2}{unit} | {spread} | {target} | {word} |"
        ));
        self.note(name, word);
        self.rows.push(json!({
            "row": name, "value": value, "low": low, "high": high, "rounds": rounds.len(), "target": target,
            "unit": unit.trim(), "verdict": word,
        }));
    }

    fn note(&mut self, name: &str, word: &str) {
        if !word.is_empty() {
            self.verdicts.push(format!("{word}: {name}"));
        }
    }

    /// Prints the tables, and writes the JSON where `BENCH_JSON` says.
    pub fn print(&self) -> Result<()> {
        let mut text = format!("{}\n", self.head);
        if !self.rates.is_empty() {
            writeln!(
                text,
                "\n| row | connections | requests/s | ratio | rounds | target | verdict | p50 us | p99 us | CPU s per 100,000 |"
            )?;
            writeln!(
                text,
                "| --- | ---: | ---: | ---: | --- | --- | --- | ---: | ---: | ---: |"
            )?;
            writeln!(text, "{}", self.rates.join("\n"))?;
        }
        if !self.figures.is_empty() {
            writeln!(
                text,
                "\n| figure | value | rounds | target | verdict |\n| --- | ---: | --- | --- | --- |"
            )?;
            writeln!(text, "{}", self.figures.join("\n"))?;
        }
        let missed = self
            .verdicts
            .iter()
            .filter(|line| line.starts_with("MISSED"))
            .count();
        writeln!(
            text,
            "\n{} of {} targets met",
            self.verdicts.len() - missed,
            self.verdicts.len()
        )?;
        print!("{text}");
        let file = std::env::vars().find_map(|(key, value)| (key == "BENCH_JSON").then_some(value));
        if let Some(file) = file {
            let all = json!({ "run": self.head, "rows": self.rows });
            std::fs::write(&file, serde_json::to_string_pretty(&all)? + "\n")?;
            eprintln!("bench: the same as JSON in {file}");
        }
        Ok(())
    }
}
