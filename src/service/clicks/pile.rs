//! Clicks that wait for the store, folded: those that are alike are one entry with a number. As the pile fills, it keeps
//! less of each click and so folds more of them into one: first their time is given up, then who clicked, then the values.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jiff::Timestamp;

use super::bound::Bound;
use super::grain::Grain;
use super::intake::Pending;
use super::parser::{Parser, Profile, Visitor};
use crate::domain::{Revision, Slug};

/// The memory that a map has for each entry beyond the entry itself: it is half empty when it has just grown.
const PLACE: usize = size_of::<Kind>() + size_of::<usize>();

/// All that is kept of the clicks of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) slug: Slug,
    pub(super) revision: Revision,
    /// Which second, minute or hour.
    unit: i64,
    pub(super) bot: bool,
    pub(super) scan: bool,
    pub(super) counted: bool,
    pub(super) visitor: Option<Visitor>,
    pub(super) profile: Arc<Profile>,
}

/// Clicks of one kind.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    pub(super) kind: Kind,
    /// The time of the first.
    pub(super) at: Timestamp,
    pub(super) number: u32,
    /// How many lower revisions of the link wait as well: a batch has one of each link.
    round: u32,
}

#[derive(Debug)]
pub(super) struct Pile {
    parser: Parser,
    grain: Grain,
    /// Where each kind is in `open`.
    places: HashMap<Kind, usize>,
    open: Vec<(Timestamp, u32)>,
    /// Entries that are taken out batch by batch, the next at the end. New clicks do not join them.
    closed: Vec<Folded>,
    /// The last click that was added, and its place.
    last: Option<(Pending, i64, usize)>,
    bytes: usize,
    bound: Bound,
    other: Arc<Profile>,
}

impl Pile {
    pub(super) fn new(bound: Bound) -> Self {
        Self {
            parser: Parser::default(),
            grain: Grain::Second,
            places: HashMap::new(),
            open: Vec::new(),
            closed: Vec::new(),
            last: None,
            bytes: 0,
            bound,
            other: Arc::new(Profile::other()),
        }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.closed.len()
    }

    /// Whether no entry is left of those that are taken out one batch after the other.
    pub(super) fn is_drawn(&self) -> bool {
        self.closed.is_empty()
    }

    /// Whether so much waits that it is stored before its time.
    pub(super) fn is_due(&self) -> bool {
        self.bound.part(1, 4).is_reached(self.len(), self.bytes)
    }

    /// Adds a click; `false` if it is lost, since the pile is full and nothing is left to give up.
    pub(super) fn add(&mut self, pending: Pending) -> bool {
        let second = pending.at.as_second();
        if let Some((last, unit, place)) = &self.last
            && *unit == second.div_euclid(self.grain.seconds())
            && last.is_alike(&pending)
        {
            self.open[*place].1 = self.open[*place].1.saturating_add(1);
            return true;
        }
        let parsed = self.parser.parse(&pending);
        let person = (!parsed.bot).then_some(Visitor {
            address: pending.address,
            agent: parsed.agent,
        });
        let kind = Kind {
            slug: pending.slug.clone(),
            revision: pending.revision,
            unit: second,
            bot: parsed.bot,
            scan: pending.scan,
            counted: pending.counted,
            visitor: person,
            profile: parsed.profile,
        };
        let added = self.insert(kind, pending.at);
        if let Some(place) = added {
            let unit = second.div_euclid(self.grain.seconds());
            self.last = Some((pending, unit, place));
        }
        added.is_some()
    }

    /// Adds to the entry of `kind`, or makes one: answers its place, or `None` if there is no room.
    fn insert(&mut self, mut kind: Kind, at: Timestamp) -> Option<usize> {
        loop {
            self.cut(&mut kind, at);
            let (bytes, is_crowded) = (bytes_of(&kind), self.is_filled(self.grain.limit()));
            match self.places.entry(kind) {
                Entry::Occupied(place) => {
                    let place = *place.get();
                    self.open[place].1 = self.open[place].1.saturating_add(1);
                    return Some(place);
                }
                Entry::Vacant(vacant) if !is_crowded => {
                    let place = self.open.len();
                    vacant.insert(place);
                    self.open.push((at, 1));
                    self.bytes += bytes;
                    return Some(place);
                }
                Entry::Vacant(vacant) => kind = vacant.into_key(),
            }
            if !self.coarsen() {
                return None;
            }
        }
    }

    fn is_filled(&self, eighths: usize) -> bool {
        self.bound.part(eighths, 8).is_reached(self.len(), self.bytes)
    }

    /// Gives up of `kind` what the grain gives up.
    fn cut(&self, kind: &mut Kind, at: Timestamp) {
        kind.unit = at.as_second().div_euclid(self.grain.seconds());
        if self.grain >= Grain::Visitors {
            kind.visitor = None;
        }
        if self.grain >= Grain::Values && !Arc::ptr_eq(&kind.profile, &self.other) {
            kind.profile = Arc::clone(&self.other);
        }
    }

    /// Folds everything that waits by the next grain; `false` if there is none.
    pub(super) fn coarsen(&mut self) -> bool {
        let Some(grain) = self.grain.next() else {
            return false;
        };
        self.grain = grain;
        let closed = std::mem::take(&mut self.closed);
        let all: Vec<Folded> = self.drain().chain(closed).collect();
        self.bytes = 0;
        for mut folded in all {
            self.cut(&mut folded.kind, folded.at);
            let bytes = bytes_of(&folded.kind);
            match self.places.entry(folded.kind) {
                Entry::Occupied(place) => {
                    let (first, sum) = &mut self.open[*place.get()];
                    *first = folded.at.min(*first);
                    *sum = sum.saturating_add(folded.number);
                }
                Entry::Vacant(place) => {
                    place.insert(self.open.len());
                    self.open.push((folded.at, folded.number));
                    self.bytes += bytes;
                }
            }
        }
        true
    }

    /// Takes out the open entries.
    fn drain(&mut self) -> impl Iterator<Item = Folded> + use<> {
        self.last = None;
        let open = std::mem::take(&mut self.open);
        std::mem::take(&mut self.places)
            .into_iter()
            .map(move |(kind, place)| Folded {
                kind,
                at: open[place].0,
                number: open[place].1,
                round: 0,
            })
    }

    /// Takes out at most `most` entries, those of one link together and of one revision, and the grain that they have. All
    /// that are open now are taken before any that is added later.
    pub(super) fn take(&mut self, most: usize) -> (Vec<Folded>, Grain) {
        if self.closed.is_empty() {
            // A pile that has room again keeps everything of the next clicks.
            let has_room = !self.is_filled(1);
            self.closed = self.drain().collect();
            count_rounds(&mut self.closed);
            self.closed
                .sort_unstable_by(|a, b| (b.round, &b.kind.slug, b.at).cmp(&(a.round, &a.kind.slug, a.at)));
            if has_room {
                let grain = std::mem::replace(&mut self.grain, Grain::Second);
                return (self.draw(most), grain);
            }
        }
        (self.draw(most), self.grain)
    }

    fn draw(&mut self, most: usize) -> Vec<Folded> {
        let round = self.closed.last().map(|folded| folded.round);
        let newest_first = self.closed.iter().rev().take(most);
        let number = newest_first
            .take_while(|folded| Some(folded.round) == round)
            .count();
        let from = self.closed.len() - number;
        let mut drawn = self.closed.split_off(from);
        drawn.reverse();
        self.bytes -= drawn.iter().map(|folded| bytes_of(&folded.kind)).sum::<usize>();
        drawn
    }
}

/// Numbers the revisions of each link among the entries. Mostly there is one.
fn count_rounds(entries: &mut [Folded]) {
    entries.sort_unstable_by(|a, b| (&a.kind.slug, a.kind.revision).cmp(&(&b.kind.slug, b.kind.revision)));
    for at in 1..entries.len() {
        let (before, entry) = (&entries[at - 1], &entries[at]);
        if before.kind.slug == entry.kind.slug {
            let is_next = before.kind.revision != entry.kind.revision;
            entries[at].round = before.round + u32::from(is_next);
        }
    }
}

/// The memory that an entry takes. A profile that several have is counted for each.
fn bytes_of(kind: &Kind) -> usize {
    size_of::<Folded>() + PLACE + kind.slug.as_str().len() + kind.profile.bytes()
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::{Bound, Folded, Grain, Pile};
    use crate::domain::{Dimension, Revision};
    use crate::service::Seen;
    use crate::service::clicks::intake::Pending;

    const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

    fn click(agent: &str, slug: &str, millis: i64) -> Pending {
        let seen = Seen {
            agent: format!("Mozilla/5.0 {agent}").into(),
            ..Seen::default()
        };
        let at = NOON + SignedDuration::from_millis(millis);
        seen.pending(&slug.parse().unwrap(), Revision::new(1), false, at)
    }

    fn pile(entries: usize) -> Pile {
        Pile::new(Bound {
            entries,
            bytes: usize::MAX / 8,
        })
    }

    fn numbers(folded: &[Folded]) -> Vec<(&str, u32)> {
        folded
            .iter()
            .map(|folded| (folded.kind.slug.as_str(), folded.number))
            .collect()
    }

    #[test]
    fn only_clicks_that_are_alike_within_a_second_become_one() {
        let mut pile = pile(100);
        for (agent, slug, millis) in [
            ("one", "b", 0),
            ("one", "a", 0),
            ("two", "a", 1),
            ("one", "a", 999),
            ("one", "a", 1000),
            ("one", "a", 1001),
        ] {
            assert!(pile.add(click(agent, slug, millis)));
        }

        let (first, grain) = pile.take(3);
        assert!(pile.add(click("one", "a", 1002)));
        let (second, _) = pile.take(3);
        let (third, _) = pile.take(3);

        assert_eq!(grain, Grain::Second);
        assert_eq!(numbers(&first), [("a", 2), ("a", 1), ("a", 2)]);
        assert_eq!(numbers(&second), [("b", 1)]);
        assert_eq!(numbers(&third), [("a", 1)]);
        assert_eq!((pile.len(), pile.bytes), (0, 0));
    }

    /// The agents are of one family and no referrer differs: visitors alone tell the clicks apart.
    #[test]
    fn a_pile_that_fills_gives_up_seconds_then_minutes_then_visitors_then_values() {
        let mut pile = pile(80);
        let mut grains = vec![pile.grain];
        for minute in 0..120 {
            for second in 0..20 {
                let agent = format!("agent {}", second % 4);
                assert!(pile.add(click(&agent, "a", (minute * 60 + second) * 1000)));
                assert!(pile.len() <= 80);
                if grains.last() != Some(&pile.grain) {
                    grains.push(pile.grain);
                }
            }
        }
        assert_eq!(grains, [Grain::Second, Grain::Minute, Grain::Hour]);
        for number in 0..500 {
            assert!(pile.add(click(&format!("other {number}"), "a", 0)));
        }
        assert_eq!(pile.grain, Grain::Visitors);
        for number in 0..200 {
            let referrer = format!("https://{number}.example/");
            let seen = Seen {
                referrer: referrer.as_str().into(),
                ..Seen::default()
            };
            assert!(pile.add(seen.pending(&"a".parse().unwrap(), Revision::new(1), false, NOON)));
        }
        assert_eq!(pile.grain, Grain::Values);

        let (folded, _) = pile.take(100);

        assert_eq!(numbers(&folded), [("a", 1200 + 500 + 200), ("a", 1200)]);
        assert_eq!(folded[0].kind.profile.referrer, Dimension::OTHER);
        assert_eq!(folded[0].at, NOON);
        assert_eq!((pile.len(), pile.bytes, pile.grain), (0, 0, Grain::Second));
    }

    #[test]
    fn clicks_of_two_revisions_of_a_link_are_never_taken_together() {
        let mut pile = pile(100);
        for (slug, revision) in [
            ("a", 2),
            ("b", 5),
            ("a", 1),
            ("a", 2),
            ("c", 1),
            ("b", 7),
            ("a", 9),
        ] {
            let seen = Seen::default();
            assert!(pile.add(seen.pending(&slug.parse().unwrap(), Revision::new(revision), false, NOON)));
        }
        let mut takes = Vec::new();
        while pile.len() > 0 {
            let (taken, _) = pile.take(100);
            let entry = |folded: &Folded| {
                format!(
                    "{}{} {}",
                    folded.kind.slug,
                    folded.kind.revision.get(),
                    folded.number
                )
            };
            takes.push(taken.iter().map(entry).collect::<Vec<_>>());
        }

        assert_eq!(
            takes,
            [vec!["a1 1", "b5 1", "c1 1"], vec!["a2 2", "b7 1"], vec!["a9 1"]]
        );
        assert_eq!(pile.bytes, 0);
    }

    #[test]
    fn a_click_is_lost_only_if_the_links_of_an_hour_alone_fill_the_pile() {
        let mut pile = pile(10);
        let added = (0..20).filter(|number| pile.add(click("one", &format!("link{number}"), 0)));

        assert_eq!(added.count(), 10);
        assert!(pile.add(click("two", "link3", 0)));
    }

    #[test]
    fn a_pile_is_bounded_in_bytes() {
        let mut pile = Pile::new(Bound {
            entries: 1_000_000,
            bytes: 100_000,
        });
        for number in 0..5000 {
            pile.add(click(&format!("agent {number}"), "a", 0));
            assert!(pile.bytes <= 100_000);
        }
        assert!(pile.grain > Grain::Second);
    }
}
