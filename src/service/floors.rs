//! The oldest state of each changed slug that a cache may still answer with.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::time::Duration;

use jiff::Timestamp;

use crate::cache::Entry;
use crate::domain::{Rank, Slug};

/// The most slugs whose changes are remembered, at some 100 bytes each. With more, everything that was read before is
/// distrusted.
const MOST: usize = 100_000;

/// How far the clocks of two instances may be apart: one that is more than a second off the database's is corrected.
const SKEW: Duration = Duration::from_secs(2);

/// A moment by both clocks: the time of day, which instances share, and the uptime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) steady: Timestamp,
}

impl Moment {
    /// Later than any other.
    pub(super) const LAST: Self = Self {
        now: Timestamp::MAX,
        steady: Timestamp::MAX,
    };
}

/// What is remembered of a slug's last change.
#[derive(Debug, Clone, Copy)]
struct Floor {
    version: Rank,
    seen: Moment,
    /// Whether the shared cache holds nothing older any more.
    is_shared: bool,
}

/// Changes, for as long as a cache may hold an older state.
#[derive(Debug)]
pub(super) struct Floors {
    by_slug: HashMap<Slug, Floor>,
    /// What was read before is not trusted: there were more changes than are remembered.
    distrusted: Option<Moment>,
    kept_for: Duration,
}

impl Floors {
    /// Remembers each change for `kept_for`.
    pub(super) fn new(kept_for: Duration) -> Self {
        Self {
            by_slug: HashMap::new(),
            distrusted: None,
            kept_for,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_slug.is_empty() && self.distrusted.is_none()
    }

    /// Whether more changes are remembered than may be.
    pub(super) fn is_full(&self) -> bool {
        self.by_slug.len() > MOST
    }

    /// Remembers a change seen at `seen`; `false` if it was known. `is_shared` is whether the shared cache has it.
    pub(super) fn raise(&mut self, slug: &Slug, version: Rank, seen: Moment, is_shared: bool) -> bool {
        match self.by_slug.entry(slug.clone()) {
            Place::Occupied(mut place) => {
                let floor = place.get_mut();
                if floor.version >= version {
                    floor.is_shared |= is_shared && floor.version == version;
                    return false;
                }
                *floor = Floor {
                    version,
                    seen,
                    is_shared,
                };
            }
            Place::Vacant(place) => {
                place.insert(Floor {
                    version,
                    seen,
                    is_shared,
                });
            }
        }
        true
    }

    /// Forgets a change that the store has lost: one with a lower version was made well after it was seen.
    pub(super) fn forget_lost(&mut self, slug: &Slug, version: Rank, changed_at: Timestamp) {
        let is_lost = |floor: &Floor| {
            let latest = floor.seen.now.checked_add(SKEW);
            floor.version > version && latest.is_ok_and(|latest| changed_at > latest)
        };
        if self.by_slug.get(slug).is_some_and(is_lost) {
            self.by_slug.remove(slug);
        }
    }

    /// Trusts nothing that was read before `moment`.
    pub(super) fn distrust(&mut self, moment: Moment) {
        self.by_slug = HashMap::new();
        self.distrusted = Some(moment);
    }

    /// Forgets changes that no cache can hold an older state of any more.
    pub(super) fn expire(&mut self, steady: Timestamp) {
        let is_kept = |seen: &Moment| {
            seen.steady
                .checked_add(self.kept_for)
                .is_ok_and(|until| steady < until)
        };
        self.by_slug.retain(|_, floor| is_kept(&floor.seen));
        self.distrusted = self.distrusted.filter(is_kept);
    }

    /// Slugs that the shared cache may hold an older state of, `most` of them.
    pub(super) fn unshared(&self, most: usize) -> Vec<(Slug, Rank)> {
        let unshared = self.by_slug.iter().filter(|(_, floor)| !floor.is_shared);
        unshared
            .take(most)
            .map(|(slug, floor)| (slug.clone(), floor.version))
            .collect()
    }

    /// Whether an entry of the shared cache is as new as every change seen here. An entry from the future would defeat
    /// this, and is refused.
    pub(super) fn admit_shared(&self, slug: &Slug, entry: &Entry, now: Timestamp) -> bool {
        let is_later = |moment: &Moment| {
            moment
                .now
                .checked_add(SKEW)
                .is_ok_and(|seen| entry.read_at > seen)
        };
        let is_past = now.checked_add(SKEW).is_ok_and(|latest| entry.read_at <= latest);
        is_past
            && self.distrusted.is_none_or(|moment| is_later(&moment))
            && self
                .by_slug
                .get(slug)
                .is_none_or(|floor| entry.known.rank() >= floor.version || is_later(&floor.seen))
    }

    /// Whether a state whose read of the store began at `began` is as new as every change seen here.
    pub(super) fn admit_read(&self, slug: &Slug, rank: Rank, began: Timestamp) -> bool {
        self.distrusted.is_none_or(|moment| began >= moment.steady)
            && self
                .by_slug
                .get(slug)
                .is_none_or(|floor| rank >= floor.version || began >= floor.seen.steady)
    }

    /// Whether a state is not known to be outdated.
    pub(super) fn admit_stale(&self, slug: &Slug, rank: Rank) -> bool {
        self.by_slug.get(slug).is_none_or(|floor| rank >= floor.version)
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::cache::Known;
    use crate::domain::Revision;

    fn moment(second: i64) -> Moment {
        Moment {
            now: Timestamp::from_second(1_800_000_000 + second).unwrap(),
            steady: Timestamp::from_second(second).unwrap(),
        }
    }

    fn deleted(revision: i64, read_at: Timestamp) -> Entry {
        Entry {
            known: Known::Absent(Rank::of_deletion(Revision::new(revision))),
            read_at,
            fresh_until: read_at + 300.seconds(),
            stale_until: read_at + 300.seconds(),
        }
    }

    #[test]
    fn an_entry_older_than_a_change_is_refused_until_it_was_read_again() {
        let slug: Slug = "launch".parse().unwrap();
        let version = Rank::of_link(Revision::new(9));
        let mut floors = Floors::new(Duration::from_secs(300));
        let older = deleted(8, moment(-1).now);
        assert!(floors.admit_shared(&slug, &older, moment(0).now));

        assert!(floors.raise(&slug, version, moment(0), false));
        assert!(!floors.raise(&slug, version, moment(1), true));

        assert!(!floors.admit_shared(&slug, &older, moment(1).now));
        assert!(!floors.admit_read(&slug, older.known.rank(), moment(-1).steady));
        assert!(!floors.admit_stale(&slug, older.known.rank()));
        assert!(floors.admit_shared(&slug, &deleted(9, moment(-1).now), moment(1).now));
        assert!(floors.admit_shared(&slug, &deleted(8, moment(3).now), moment(3).now));
        assert!(floors.admit_read(&slug, Rank::UNSEEN, moment(0).steady));
        assert!(floors.unshared(9).is_empty());
        floors.expire(moment(300).steady);
        assert!(floors.is_empty());
    }

    #[test]
    fn an_entry_from_the_future_is_refused() {
        let slug: Slug = "launch".parse().unwrap();
        let floors = Floors::new(Duration::from_secs(300));

        assert!(!floors.admit_shared(&slug, &deleted(1, moment(3).now), moment(0).now));
    }

    #[test]
    fn a_change_with_a_lower_version_counts_if_it_was_made_later() {
        let slug: Slug = "launch".parse().unwrap();
        let version = |number| Rank::of_link(Revision::new(number));
        let mut floors = Floors::new(Duration::from_secs(300));
        floors.raise(&slug, version(9), moment(5), false);

        floors.forget_lost(&slug, version(3), moment(6).now);
        assert!(!floors.raise(&slug, version(3), moment(20), false));
        floors.forget_lost(&slug, version(3), moment(18).now);
        assert!(floors.raise(&slug, version(3), moment(20), false));
    }

    #[test]
    fn more_changes_than_are_remembered_distrust_everything_read_before() {
        let mut floors = Floors::new(Duration::from_secs(300));
        for number in 0..=MOST {
            let slug = format!("slug-{number}").parse().unwrap();
            floors.raise(&slug, Rank::of_link(Revision::new(1)), moment(5), false);
        }
        assert!(floors.is_full());
        floors.distrust(moment(5));
        let slug: Slug = "other".parse().unwrap();

        assert!(!floors.admit_shared(&slug, &deleted(1, moment(5).now), moment(5).now));
        assert!(!floors.admit_read(&slug, Rank::UNSEEN, moment(4).steady));
        assert!(floors.admit_shared(&slug, &deleted(1, moment(8).now), moment(8).now));
        floors.expire(moment(305).steady);
        assert!(floors.is_empty());
    }
}
