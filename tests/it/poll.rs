//! Waiting for what no event announces: asking again and again, with a deadline.

use std::time::{Duration, Instant};

/// After this long something hangs, whatever the machine has to do.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until it is so. `what` is the state that does not come, for the message.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "not {what}");
        std::thread::sleep(PAUSE);
    }
}
