//! The ten quickest rows of `scripts/rig`, in a few seconds each. What they say of speed is not judged here: the
//! machine does other things meanwhile. docs/RELIABILITY.md has the whole table.

#[path = "../examples/rig/main.rs"]
#[expect(dead_code, reason = "the rest is for the program")]
mod rig;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rig::bed::Scale;

/// One row at a time: each wants the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

fn row(id: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let row = rig::rows::ROWS
        .iter()
        .find(|row| row.id == id)
        .expect("there is such a row");

    let outcomes = rig::run(PathBuf::from(env!("CARGO_BIN_EXE_curtail")), Scale::Short, &[row]);

    let table = rig::report::table(&outcomes);
    let checks = outcomes.iter().flat_map(|outcome| &outcome.checks);
    let broken: Vec<_> = checks.filter(|check| !check.met && !check.of_speed).collect();
    assert!(broken.is_empty(), "{broken:?}\n{table}");
}

#[test]
fn links_in_use_redirect_while_postgres_and_redis_are_both_gone() {
    row("R0");
}

#[test]
fn a_frozen_redis_is_not_noticed() {
    row("R1");
}

#[test]
fn a_redis_that_is_killed_and_comes_back_empty_is_not_noticed() {
    row("R2");
}

#[test]
fn postgres_may_be_killed_and_nothing_acknowledged_is_lost() {
    row("R5");
}

#[test]
fn links_in_use_redirect_while_postgres_is_frozen() {
    row("R6");
}

#[test]
fn a_read_only_postgres_refuses_writes_and_nothing_else() {
    row("R8");
}

#[test]
fn a_locked_table_does_not_hold_up_links_in_use() {
    row("R9");
}

#[test]
fn take_downs_are_seen_by_every_instance() {
    row("R12");
}

#[test]
fn a_stop_at_saturation_loses_neither_an_answer_nor_a_click() {
    row("R15");
}

#[test]
fn a_kill_loses_nothing_acknowledged_and_counts_nothing_twice() {
    row("R16");
}
