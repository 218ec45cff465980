//! Times as clients write them.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;

/// The latest time that is kept, 9999-12-30T22:00:00Z: it is in the year 9999 wherever a clock is. "Never" is often written as
/// the last moment of that year.
const LATEST: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// The first of the last days of the calendar, on which [`LATEST`] is.
const LAST_DAYS: Date = date(9999, 12, 30);

/// A time that a client names, in RFC 3339. One of the last 26 hours of the year 9999 is the latest that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenTime(Timestamp);

/// A text that names no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as 2026-11-21T02:00:00Z")]
pub struct NoTime;

impl GivenTime {
    /// The time.
    #[must_use]
    pub fn get(self) -> Timestamp {
        self.0
    }
}

impl FromStr for GivenTime {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let late = || is_late(text).then_some(LATEST);
        let time = text.parse().ok().or_else(late).ok_or(NoTime)?;
        Ok(Self(LATEST.min(time)))
    }
}

/// The time that `text` names in UTC, without a zone, such as `2026-11-21 02:00:00` or `2026-11-21`.
#[must_use]
pub fn time_in_utc(text: &str) -> Option<Timestamp> {
    let time = text.parse::<DateTime>().ok()?;
    match time.to_zoned(TimeZone::UTC) {
        Ok(time) => Some(LATEST.min(time.timestamp())),
        Err(_) => (time.date() >= LAST_DAYS).then_some(LATEST),
    }
}

/// Whether a text is a whole time of the last days of the calendar.
fn is_late(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| {
        pieces.date() >= LAST_DAYS && pieces.time().is_some() && pieces.offset().is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::{GivenTime, LATEST, time_in_utc};

    #[test]
    fn the_last_day_of_the_calendar_is_the_latest_time_that_is_kept() {
        let given = |text: &str| text.parse::<GivenTime>().ok().map(GivenTime::get);
        for late in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:00:00+01:00",
            "9999-12-30T22:00:00.000001Z",
            "9999-12-30T22:00:01Z",
            "9999-12-31t23:59:59z",
        ] {
            assert_eq!(given(late), Some(LATEST), "{late}");
        }
        assert_eq!(given("9999-12-30T22:00:00Z"), Some(LATEST));
        assert_eq!(
            given("9999-12-31T00:00:00+14:00"),
            "9999-12-30T10:00:00Z".parse().ok()
        );
        assert_eq!(
            given("2026-11-21T02:00:00+02:00"),
            "2026-11-21T00:00:00Z".parse().ok()
        );
        for none in [
            "",
            "never",
            "9999-12-31",
            "9999-12-31T23:59:59",
            "9999-12-32T00:00:00Z",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(given(none), None, "{none}");
        }
        assert_eq!(time_in_utc("9999-12-31 23:59:59"), Some(LATEST));
        assert_eq!(time_in_utc("9999-12-31"), Some(LATEST));
        assert_eq!(
            time_in_utc("2026-11-21 02:00:00"),
            "2026-11-21T02:00:00Z".parse().ok()
        );
        assert_eq!(time_in_utc("-009999-01-01"), None);
    }
}
