//! The sums of a batch of clicks, the same for both dialects.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::domain::{Click, Counts, Slug, day_of, hour_of};

/// A link, as a store numbers it, or its place among the links of a batch.
pub(super) type LinkId = i64;

/// Human clicks of one link and hour that have every value in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alike<'a> {
    /// The link.
    pub(super) link: LinkId,
    /// The hour.
    pub(super) hour: Timestamp,
    pub(super) referrer: &'a str,
    pub(super) browser: &'a str,
    pub(super) system: &'a str,
    pub(super) device: &'a str,
    pub(super) country: Option<&'a str>,
    pub(super) language: &'a str,
}

/// The sums of a batch.
#[derive(Debug, Default)]
pub(super) struct Rollup<'a> {
    /// Human clicks that are not in the link's total yet.
    pub(super) totals: BTreeMap<LinkId, i64>,
    /// Sums by hour.
    pub(super) hours: BTreeMap<(LinkId, Timestamp), Counts>,
    /// For each visitor of a link on a day, the hour of the first click.
    pub(super) visitors: BTreeMap<(Timestamp, LinkId, i64), Timestamp>,
    /// Human clicks, to be summed by value later.
    pub(super) alike: BTreeMap<Alike<'a>, i64>,
}

impl<'a> Rollup<'a> {
    /// The sums of the clicks whose links are known.
    pub(super) fn of(clicks: &'a [Click], ids: &HashMap<Slug, LinkId>) -> Self {
        let mut rollup = Self::default();
        for click in clicks {
            if let Some(link) = ids.get(&click.slug) {
                rollup.add(*link, click);
            }
        }
        rollup
    }

    fn add(&mut self, link: LinkId, click: &'a Click) {
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
        if let Some(visitor) = click.visitor {
            let first = self.visitors.entry((day, link, visitor)).or_insert(hour);
            *first = hour.min(*first);
        }
        let alike = Alike {
            link,
            hour,
            referrer: &click.referrer,
            browser: click.browser,
            system: click.system,
            device: click.device,
            country: click.country.as_deref(),
            language: &click.language,
        };
        *self.alike.entry(alike).or_default() += number;
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
}
