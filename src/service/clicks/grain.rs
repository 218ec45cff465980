//! How much is kept of the clicks that wait.

/// What clicks of one entry have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grain {
    /// The second, and everything that is stored.
    Second,
    /// The minute instead of the second.
    Minute,
    /// The hour.
    Hour,
    /// The hour, but not the visitor: visitors are counted too low.
    Visitors,
    /// The link and the hour alone. The values are [`crate::domain::Dimension::OTHER`].
    Values,
}

impl Grain {
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Second => Some(Self::Minute),
            Self::Minute => Some(Self::Hour),
            Self::Hour => Some(Self::Visitors),
            Self::Visitors => Some(Self::Values),
            Self::Values => None,
        }
    }

    pub(super) fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour | Self::Visitors | Self::Values => 3600,
        }
    }

    /// What it gives up, as metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Second => "none",
            Self::Minute => "second",
            Self::Hour => "minute",
            Self::Visitors => "visitor",
            Self::Values => "values",
        }
    }

    /// How full the pile may be, in eighths, before the next grain.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::Second | Self::Minute => 4,
            Self::Hour => 6,
            Self::Visitors => 7,
            Self::Values => 8,
        }
    }
}
