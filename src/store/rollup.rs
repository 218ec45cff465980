//! The sums of a batch of clicks, the same for both dialects.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::domain::{Click, Counts, Dimension, Slug, day_of, hour_of};

/// A link, as the stores number them.
pub(super) type LinkId = i64;

/// A link, a day and a dimension: what has a bounded number of values.
pub(super) type Bounded = (LinkId, Timestamp, Dimension);

/// A value on a day.
pub(super) type DayValue = (Bounded, String);

/// The sums of an hour.
pub(super) const HOUR: i16 = 0;
/// The sums of a day.
pub(super) const DAY: i16 = 1;

/// The most rows that one piece of a chore touches.
pub(super) const CHORE_ROWS: i64 = 2000;

/// The sums of a batch.
#[derive(Debug, Default)]
pub(super) struct Rollup {
    /// Human clicks that are not in the link's total yet.
    pub(super) totals: BTreeMap<LinkId, i64>,
    /// Sums by hour.
    pub(super) hours: BTreeMap<(LinkId, Timestamp), Counts>,
    /// For each visitor of a link on a day, the hour of the first click.
    pub(super) visitors: BTreeMap<(Timestamp, LinkId, i64), Timestamp>,
    values: BTreeMap<DayValue, BTreeMap<Timestamp, i64>>,
}

/// A row of the sums by value.
pub(super) type ValueRow = ((LinkId, i16, Timestamp, Dimension, String), i64);

impl Rollup {
    /// The sums of the clicks whose links are known.
    pub(super) fn of(clicks: &[Click], ids: &HashMap<Slug, LinkId>) -> Self {
        let mut rollup = Self::default();
        for click in clicks {
            if let Some(link) = ids.get(&click.slug) {
                rollup.add(*link, click);
            }
        }
        rollup
    }

    fn add(&mut self, link: LinkId, click: &Click) {
        let (hour, day) = (hour_of(click.at), day_of(click.at));
        let counts = self.hours.entry((link, hour)).or_default();
        let number = i64::from(click.number);
        if click.bot {
            counts.bots += number;
            return;
        }
        counts.clicks += number;
        if click.scan {
            counts.scans += number;
        }
        if !click.counted {
            *self.totals.entry(link).or_default() += number;
        }
        let first = self.visitors.entry((day, link, click.visitor)).or_insert(hour);
        *first = hour.min(*first);
        for dimension in Dimension::ALL {
            if let Some(value) = click.value(dimension) {
                let hours = self
                    .values
                    .entry(((link, day, dimension), value.to_owned()))
                    .or_default();
                *hours.entry(hour).or_default() += number;
            }
        }
    }

    /// Counts visitors that the store had not seen on their day.
    pub(super) fn count_visitors(&mut self, new: impl IntoIterator<Item = (Timestamp, LinkId, i64)>) {
        for visitor in new {
            if let Some(hour) = self.visitors.get(&visitor)
                && let Some(counts) = self.hours.get_mut(&(visitor.1, *hour))
            {
                counts.visitors += 1;
            }
        }
    }

    /// Every value of the batch.
    pub(super) fn day_values(&self) -> Vec<&DayValue> {
        self.values.keys().collect()
    }

    /// Takes values for `(other)` that are `new` to the store and more than the bound allows; `kept` is how
    /// many values the store has.
    pub(super) fn bound(&mut self, new: &BTreeSet<DayValue>, kept: &BTreeMap<Bounded, usize>) {
        let mut room: BTreeMap<Bounded, usize> = BTreeMap::new();
        for value in new {
            if value.1 == Dimension::OTHER {
                continue;
            }
            let left = room.entry(value.0).or_insert_with(|| {
                Dimension::MAX_VALUES.saturating_sub(kept.get(&value.0).copied().unwrap_or_default())
            });
            if *left > 0 {
                *left -= 1;
                continue;
            }
            for (hour, clicks) in self.values.remove(value).unwrap_or_default() {
                let other = self
                    .values
                    .entry((value.0, Dimension::OTHER.to_owned()))
                    .or_default();
                *other.entry(hour).or_default() += clicks;
            }
        }
    }

    /// The rows to add, by hour and by day, in the order of their key.
    pub(super) fn value_rows(&self) -> Vec<ValueRow> {
        let mut rows = Vec::new();
        for (((link, day, dimension), value), hours) in &self.values {
            rows.push((
                (*link, DAY, *day, *dimension, value.clone()),
                hours.values().sum(),
            ));
            rows.extend(
                hours
                    .iter()
                    .map(|(hour, clicks)| ((*link, HOUR, *hour, *dimension, value.clone()), *clicks)),
            );
        }
        rows.sort();
        rows
    }
}
