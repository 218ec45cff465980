//! Sums of clicks by value of a dimension, the same for both dialects.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::rollup::LinkId;
use crate::domain::{Dimension, day_of};

/// A link, a day and a dimension: what has a bounded number of values.
pub(super) type Bounded = (LinkId, Timestamp, Dimension);

/// A value on a day.
pub(super) type DayValue = (Bounded, String);

/// A row of the sums by value.
pub(super) type ValueRow = ((LinkId, i16, Timestamp, Dimension, String), i64);

/// The sums of an hour.
pub(super) const HOUR: i16 = 0;
/// The sums of a day.
pub(super) const DAY: i16 = 1;

/// How many rows are looked at for links whose clicks are summed at once.
pub(super) const SUMMED_FIRST: i64 = 200;

/// The most rows of clicks that are summed at once. All different, they are ten times as many sums, which take memory.
pub(super) const SUMMED_ROWS: i64 = 500;

/// Sums by value, to be added to those that the store has.
#[derive(Debug, Default)]
pub(super) struct ValueSums(BTreeMap<DayValue, BTreeMap<Timestamp, i64>>);

impl ValueSums {
    /// Adds clicks of a link that have a value in common.
    pub(super) fn add(
        &mut self,
        link: LinkId,
        hour: Timestamp,
        dimension: Dimension,
        value: String,
        clicks: i64,
    ) {
        let hours = self
            .0
            .entry(((link, day_of(hour), dimension), value))
            .or_default();
        *hours.entry(hour).or_default() += clicks;
    }

    /// Every value.
    pub(super) fn day_values(&self) -> Vec<&DayValue> {
        self.0.keys().collect()
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
            for (hour, clicks) in self.0.remove(value).unwrap_or_default() {
                let other = self.0.entry((value.0, Dimension::OTHER.to_owned())).or_default();
                *other.entry(hour).or_default() += clicks;
            }
        }
    }

    /// The rows to add, by hour and by day, in the order of their key.
    pub(super) fn rows(&self) -> Vec<ValueRow> {
        let mut rows = Vec::new();
        for (((link, day, dimension), value), hours) in &self.0 {
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
