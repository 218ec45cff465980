//! So many requests a minute.

/// A budget: so many requests at once, and so many more each minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: u32,
}

const MINUTE: i64 = 60_000_000;

impl Rate {
    /// So many a minute; `None` if that is no limit: 0, or more than one each microsecond, which is as fine as time is
    /// told.
    #[must_use]
    pub fn per_minute(number: u32) -> Option<Self> {
        (1..=MINUTE)
            .contains(&i64::from(number))
            .then_some(Self { per_minute: number })
    }

    /// The number a minute.
    #[must_use]
    pub fn number(self) -> u32 {
        self.per_minute
    }

    /// Microseconds in which one request comes back.
    #[must_use]
    pub fn one_micros(self) -> i64 {
        MINUTE / i64::from(self.per_minute)
    }

    /// Microseconds in which all requests come back.
    #[must_use]
    pub fn all_micros(self) -> i64 {
        self.one_micros() * i64::from(self.per_minute)
    }

    /// Takes a request at `now`; `full` is the time at which the whole budget is there again, both in
    /// microseconds. Answers the new such time too. This is the generic cell rate algorithm.
    #[must_use]
    pub fn take(self, full: i64, now: i64) -> (i64, Taken) {
        // A clock that was set back refuses nobody for longer than the whole budget takes.
        let full = full.clamp(now, now.saturating_add(self.all_micros()));
        let after = full + self.one_micros();
        if after - now > self.all_micros() {
            let wait = after - now - self.all_micros();
            return (full, Taken::of(self, false, wait, full - now));
        }
        (after, Taken::of(self, true, 0, after - now))
    }
}

/// What came of taking a request from a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The name of the policy that the budget belongs to.
    pub policy: &'static str,
    /// Whether there was one.
    pub granted: bool,
    /// The requests of a whole budget.
    pub limit: u32,
    /// The requests that are left.
    pub remaining: u32,
    /// Seconds to wait for the next, rounded up.
    pub retry_after: u32,
    /// Seconds until the whole budget is there again, rounded up.
    pub reset: u32,
}

impl Taken {
    /// What is known in microseconds.
    #[must_use]
    pub fn of(rate: Rate, granted: bool, wait: i64, until_full: i64) -> Self {
        let seconds = |micros: i64| u32::try_from((micros.max(0) + 999_999) / 1_000_000).unwrap_or(u32::MAX);
        let left = (rate.all_micros() - until_full).max(0) / rate.one_micros();
        Self {
            policy: "default",
            granted,
            limit: rate.number(),
            remaining: u32::try_from(left).unwrap_or(0),
            retry_after: seconds(wait).max(1),
            reset: seconds(until_full).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    /// More than one a microsecond divided by zero.
    #[test]
    fn a_rate_that_is_finer_than_time_is_no_limit() {
        let finest = Rate::per_minute(60_000_000).unwrap();

        assert!(finest.take(0, 0).1.granted);
        assert_eq!(finest.one_micros(), 1);
        assert_eq!(Rate::per_minute(60_000_001), None);
        assert_eq!(Rate::per_minute(u32::MAX), None);
        assert_eq!(Rate::per_minute(0), None);
    }
}
