//! Panics are lines of the log, and so errors that are reported.

use std::panic::PanicHookInfo;

/// Logs every panic from now on, before it unwinds to where it is caught.
pub(super) fn log_them() {
    std::panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location();
    let payload = panic.payload();
    let words = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(
        code.file.path = place.map(std::panic::Location::file),
        code.line.number = place.map(std::panic::Location::line),
        "panicked: {words}"
    );
}
