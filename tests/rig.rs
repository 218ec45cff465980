//! The quickest rows of `scripts/rig`, in a few seconds each. What they say of speed is not judged here: the
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
fn an_instance_starts_and_redirects_while_postgres_is_down() {
    row("R0b");
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
fn a_disable_by_an_instance_without_redis_is_seen_by_every_instance() {
    row("R12b");
}

#[test]
fn a_disable_outlives_a_failover_of_redis_that_lost_it() {
    row("R12c");
}

#[test]
fn a_change_is_whole_though_its_client_left() {
    row("R12d");
}

#[test]
fn a_change_whose_answer_came_too_late_is_seen_by_every_instance() {
    row("R12e");
}

#[test]
fn an_instance_that_wakes_answers_by_what_was_changed_meanwhile() {
    row("R12f");
}

#[test]
fn a_disable_outranks_what_a_restored_database_has_lost() {
    row("R12g");
}

#[test]
fn a_stop_at_saturation_loses_neither_an_answer_nor_a_click() {
    row("R15");
}

#[test]
fn a_kill_loses_nothing_acknowledged_and_counts_nothing_twice() {
    row("R16");
}

#[test]
fn an_instance_that_is_frozen_in_a_batch_holds_up_nobody() {
    row("R17b");
}

#[test]
fn a_used_up_link_is_in_the_way_of_no_create() {
    row("R27");
}

#[test]
fn a_far_database_is_reached_again_after_all_connections_are_lost() {
    row("R28");
}

#[test]
fn a_click_that_is_refused_is_in_the_way_of_no_other() {
    row("R29");
}

#[test]
fn a_stop_loses_no_click_or_says_how_many() {
    row("R30");
}
