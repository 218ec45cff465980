//! Statistics of a link: which buckets a question has, and the sums in them.

use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit, Zoned};

use super::Dimension;

/// How long a bucket is. All are of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A calendar month.
    Month,
}

impl Interval {
    /// The interval as it stands in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The beginning of the bucket that holds `time`.
    fn start(self, time: Timestamp) -> Option<Timestamp> {
        let zoned = time.to_zoned(TimeZone::UTC);
        let start = match self {
            Self::Hour => Some(hour_of(time)),
            Self::Day => Some(day_of(time)),
            Self::Month => zoned.first_of_month().ok().as_ref().and_then(midnight),
        };
        start.filter(|start| *start <= time)
    }

    /// The beginning of the next bucket.
    fn next(self, start: Timestamp) -> Option<Timestamp> {
        let zoned = start.to_zoned(TimeZone::UTC);
        let next = match self {
            Self::Hour => zoned.checked_add(1.hour()),
            Self::Day => zoned.checked_add(1.day()),
            Self::Month => zoned.checked_add(1.month()),
        };
        next.ok().map(|next| next.timestamp())
    }
}

impl FromStr for Interval {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        match text {
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "month" => Ok(Self::Month),
            _ => Err(RangeError::Interval),
        }
    }
}

fn midnight(zoned: &Zoned) -> Option<Timestamp> {
    zoned.start_of_day().ok().map(|start| start.timestamp())
}

/// The beginning of the UTC hour that holds `time`.
#[must_use]
pub fn hour_of(time: Timestamp) -> Timestamp {
    floor(time, 3_600_000_000)
}

/// The beginning of the UTC day that holds `time`.
#[must_use]
pub fn day_of(time: Timestamp) -> Timestamp {
    floor(time, 86_400_000_000)
}

fn floor(time: Timestamp, micros: i64) -> Timestamp {
    let since_epoch = time.as_microsecond();
    Timestamp::from_microsecond(since_epoch - since_epoch.rem_euclid(micros)).unwrap_or(Timestamp::MIN)
}

/// Why a question cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// No such interval.
    #[error("interval is hour, day or month")]
    Interval,
    /// It ends before it begins.
    #[error("from must be before to")]
    Order,
    /// It has more than [`Range::MAX_BUCKETS`] buckets.
    #[error(
        "the range has more than {} buckets: ask for a shorter one, or a longer interval",
        Range::MAX_BUCKETS
    )]
    TooLong,
}

/// A time span made of whole buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Its beginning: that of its first bucket.
    pub from: Timestamp,
    /// Its end: that of its last bucket. Not part of it.
    pub to: Timestamp,
    /// How long a bucket is.
    pub interval: Interval,
}

impl Range {
    /// The most buckets of one answer.
    pub const MAX_BUCKETS: usize = 1000;

    /// How far a question reaches back that does not say so.
    const DEFAULT_DAYS: i64 = 30;

    /// The buckets that `from` to `to` touch. Without `to` they end now; without `from` there are 30 days of
    /// them.
    pub fn new(
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        interval: Interval,
        now: Timestamp,
    ) -> Result<Self, RangeError> {
        let end = to.unwrap_or(now);
        if from.is_some_and(|from| from >= end) {
            return Err(RangeError::Order);
        }
        let last = interval.start(end).ok_or(RangeError::Order)?;
        let to = if to == Some(last) {
            last
        } else {
            // Behind the last time of all there is none.
            interval.next(last).unwrap_or(Timestamp::MAX)
        };
        let from = match from {
            Some(from) => from,
            None => to
                .checked_sub(SignedDuration::from_hours(24 * Self::DEFAULT_DAYS))
                .map_err(|_| RangeError::Order)?,
        };
        let from = interval.start(from).ok_or(RangeError::Order)?;
        let range = Self { from, to, interval };
        // Before any bucket is made: a range may be ten thousand years long.
        let hours = to.duration_since(from).as_hours();
        let per_bucket = match interval {
            Interval::Hour => 1,
            Interval::Day => 24,
            Interval::Month => 28 * 24,
        };
        if hours / per_bucket > 2 * Self::MAX_BUCKETS as i64 || range.starts().len() > Self::MAX_BUCKETS {
            return Err(RangeError::TooLong);
        }
        Ok(range)
    }

    /// The beginning of each bucket.
    #[must_use]
    pub fn starts(&self) -> Vec<Timestamp> {
        std::iter::successors(Some(self.from), |start| self.interval.next(*start))
            .take_while(|start| *start < self.to)
            .collect()
    }

    /// The whole days in it, as their beginning and end; both are its end if there is none.
    #[must_use]
    pub fn whole_days(&self) -> (Timestamp, Timestamp) {
        let first = match day_of(self.from) {
            day if day == self.from => day,
            day => Interval::Day.next(day).unwrap_or(self.to),
        };
        let last = day_of(self.to);
        if first < last {
            (first, last)
        } else {
            (self.to, self.to)
        }
    }

    /// How finely the stores need to sum: an hour, or a day.
    #[must_use]
    pub fn grain(&self) -> Unit {
        match self.interval {
            Interval::Hour => Unit::Hour,
            Interval::Day | Interval::Month => Unit::Day,
        }
    }
}

/// Clicks of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By people.
    pub clicks: i64,
    /// By programs.
    pub bots: i64,
    /// People, told apart by day.
    pub visitors: i64,
    /// Those of the clicks that came from a QR code.
    pub scans: i64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.clicks += other.clicks;
        self.bots += other.bots;
        self.visitors += other.visitors;
        self.scans += other.scans;
    }
}

/// A value of a dimension, and the human clicks with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// The dimension.
    pub dimension: Dimension,
    /// The value.
    pub value: String,
    /// The clicks.
    pub clicks: i64,
}

/// What a store answers: sums by hour or day, and the most frequent values, most clicks first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Sums, by the beginning of their hour or day.
    pub counts: Vec<(Timestamp, Counts)>,
    /// Values.
    pub values: Vec<Ranked>,
}

/// Statistics of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// What was asked for.
    pub range: Range,
    /// The sums of the range.
    pub total: Counts,
    /// Every bucket, empty ones too.
    pub series: Vec<Bucket>,
    values: Vec<Ranked>,
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Its beginning.
    pub start: Timestamp,
    /// Its sums.
    pub counts: Counts,
}

impl Statistics {
    /// Puts a store's sums into the buckets of `range`.
    #[must_use]
    pub fn new(range: Range, tally: Tally) -> Self {
        let mut series: Vec<Bucket> = range
            .starts()
            .into_iter()
            .map(|start| Bucket {
                start,
                counts: Counts::default(),
            })
            .collect();
        let mut total = Counts::default();
        for (time, counts) in tally.counts {
            let after = series.partition_point(|bucket| bucket.start <= time);
            if let Some(bucket) = after.checked_sub(1).and_then(|at| series.get_mut(at)) {
                bucket.counts.add(counts);
                total.add(counts);
            }
        }
        Self {
            range,
            total,
            series,
            values: tally.values,
        }
    }

    /// The values of a dimension, most clicks first.
    pub fn values(&self, dimension: Dimension) -> impl Iterator<Item = &Ranked> {
        self.values
            .iter()
            .filter(move |ranked| ranked.dimension == dimension)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Interval, Range, RangeError};

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_is_the_last_thirty_days() {
        let range = Range::new(None, None, Interval::Day, time("2026-11-21T02:00:00Z")).unwrap();

        assert_eq!(range.from, time("2026-10-23T00:00:00Z"));
        assert_eq!(range.to, time("2026-11-22T00:00:00Z"));
        assert_eq!(range.starts().len(), 30);
    }

    #[test]
    fn a_range_is_widened_to_whole_buckets() {
        let (from, to) = (
            Some(time("2024-02-15T10:20:00Z")),
            Some(time("2024-04-01T00:00:00Z")),
        );

        let range = Range::new(from, to, Interval::Month, time("2026-11-21T02:00:00Z")).unwrap();

        assert_eq!(
            range.starts(),
            [time("2024-02-01T00:00:00Z"), time("2024-03-01T00:00:00Z")]
        );
        assert_eq!(range.to, time("2024-04-01T00:00:00Z"));
    }

    #[test]
    fn a_range_that_is_empty_or_too_long_is_refused() {
        let now = time("2026-11-21T02:00:00Z");
        let range = |from: &str, to: &str, interval| {
            Range::new(Some(time(from)), Some(time(to)), interval, now).map(|range| range.starts().len())
        };

        assert_eq!(
            range("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Interval::Day),
            Err(RangeError::Order)
        );
        assert_eq!(
            range("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", Interval::Day),
            Err(RangeError::Order)
        );
        assert_eq!(
            range("0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z", Interval::Hour),
            Err(RangeError::TooLong)
        );
        assert_eq!(
            range("2000-01-01T00:00:00Z", "2002-09-27T00:00:00Z", Interval::Day),
            Ok(1000)
        );
        assert_eq!(
            range("2000-01-01T00:00:00Z", "2002-09-27T00:00:01Z", Interval::Day),
            Err(RangeError::TooLong)
        );
        assert_eq!(
            Range::new(None, Some(Timestamp::MIN), Interval::Day, now),
            Err(RangeError::Order)
        );
    }

    #[test]
    fn whole_days_lie_within() {
        let now = time("2026-11-21T02:00:00Z");
        let days = |from: &str, to: &str| {
            Range::new(Some(time(from)), Some(time(to)), Interval::Hour, now)
                .unwrap()
                .whole_days()
        };

        assert_eq!(
            days("2026-01-01T05:00:00Z", "2026-01-04T03:00:00Z"),
            (time("2026-01-02T00:00:00Z"), time("2026-01-04T00:00:00Z"))
        );
        let end = time("2026-01-01T07:00:00Z");
        assert_eq!(days("2026-01-01T05:00:00Z", "2026-01-01T07:00:00Z"), (end, end));
    }
}
