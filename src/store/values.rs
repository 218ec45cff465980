//! How many clicks are summed by value at once, the same for both dialects.

/// How many rows are looked at for links whose clicks are summed.
pub(super) const FIRST: i64 = 200;

/// The most rows of clicks that are summed. All different, they are ten times as many sums.
pub(super) const ROWS: i64 = 500;
