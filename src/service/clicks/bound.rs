//! A bound on entries and on the bytes that they take.

/// The most entries and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Bound {
    /// A fraction of this bound, at least one entry.
    pub(super) fn part(self, numerator: usize, denominator: usize) -> Self {
        let of = |whole: usize| (whole / denominator * numerator).max(whole * numerator / denominator);
        Self {
            entries: of(self.entries).max(1),
            bytes: of(self.bytes).max(1),
        }
    }

    pub(super) fn is_reached(self, entries: usize, bytes: usize) -> bool {
        entries >= self.entries || bytes >= self.bytes
    }
}
