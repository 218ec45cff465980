//! How much one piece of a chore takes on, the same for both dialects.

/// The most rows that it deletes from a table.
pub(super) const ROWS: i64 = 2000;

/// The most links whose orphaned stats it deletes, or whose old stats it looks for.
pub(super) const LINKS: i64 = 100;

/// The most clicks that it moves to another partition.
pub(super) const CLICKS: i64 = 10_000;

/// How many rows are looked at for links whose clicks are summed.
pub(super) const SUM_FIRST: i64 = 200;

/// The most rows of clicks that are summed. All different, they are ten times as many sums.
pub(super) const SUM_ROWS: i64 = 500;
