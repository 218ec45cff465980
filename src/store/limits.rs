//! How long an operation may take before its caller is told that the database is unavailable.

use std::time::Duration;

/// For operations that only read. A visitor waits for them. Longer than the server's own limit of 500 ms, so
/// that a slow statement is ended there rather than abandoned.
pub(super) const READ_LIMIT: Duration = Duration::from_millis(700);

/// For operations that write a row or two, when the database says nothing at all: somebody waits, and may try
/// again. One that answers others gets the long limit.
pub(super) const WRITE_LIMIT: Duration = Duration::from_millis(1100);

/// For operations that write many rows, and for the first question to a database. Longer than the server's own
/// limit of 2 s.
pub(super) const LONG_LIMIT: Duration = Duration::from_millis(2500);

/// For taking a click: a write, but a visitor waits for it.
pub(super) const CLICK_LIMIT: Duration = Duration::from_secs(1);

/// For a batch of clicks: several statements. Nobody waits for it.
pub(super) const BATCH_LIMIT: Duration = Duration::from_secs(5);

/// For a batch of an import. Nobody waits for it but the importer; in SQLite the search's index now and then merges
/// its parts within it.
pub(super) const IMPORT_LIMIT: Duration = Duration::from_secs(20);
