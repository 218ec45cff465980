//! How long a full memory keeps which link: `quick_cache`, computed after its source.
//!
//! What is new waits in a short queue. Visited there, or again while its hash is remembered after that, it comes among the
//! rest. A hand goes round these: it evicts an entry that was not visited since the last time, and passes one by that was
//! visited, up to two rounds. So a link that is visited once pushes out few that are visited often.

use super::popularity::Bin;

/// Parts of the room: `DEFAULT_HOT_ALLOCATION` and `DEFAULT_GHOST_ALLOCATION` of `quick_cache`.
const HOT: f64 = 0.97;
const REMEMBERED: f64 = 0.5;

/// Times of a memory, in visits of its instance.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// How long the queue is.
    queued: f64,
    /// How long a hash is remembered.
    remembered: f64,
    /// How long the hand takes to come round.
    round: f64,
}

/// The parts of its time that a link is in each place.
struct Places {
    queued: f64,
    remembered: f64,
    hot: f64,
}

impl Room {
    /// The times of a memory with room for so many entries.
    pub fn new(entries: f64, bins: &[Bin]) -> Self {
        let all: f64 = bins.iter().map(|bin| bin.links).sum();
        let mut room = Self {
            queued: 0.03 * entries,
            remembered: entries,
            round: if all <= entries { f64::INFINITY } else { entries },
        };
        if all <= entries {
            return room;
        }
        let sum = |room: Self, of: fn(&Places) -> f64| -> f64 {
            bins.iter()
                .map(|bin| bin.links * of(&room.places(bin.share)))
                .sum()
        };
        // Each time depends on the others a little: they come to rest after a few rounds.
        for _ in 0..6 {
            room.round = such_that(HOT * entries, |round| {
                sum(Self { round, ..room }, |places| places.hot)
            });
            room.queued = such_that((1.0 - HOT) * entries, |queued| {
                sum(Self { queued, ..room }, |places| places.queued)
            });
            room.remembered = such_that(REMEMBERED * entries, |remembered| {
                sum(Self { remembered, ..room }, |places| places.remembered)
            });
        }
        room
    }

    fn places(&self, share: f64) -> Places {
        let promoted = -(-share * self.queued).exp_m1();
        let known_again = (1.0 - promoted) * -(-share * self.remembered).exp_m1();
        let rounds = share * self.round;
        // Rounds until the hand evicts it, after the chain of its counter of visits: 0, 1, 2.
        let stays = if rounds > 300.0 {
            f64::INFINITY
        } else {
            self.round * (2.0 * rounds).exp() * (1.0 - rounds * (-rounds).exp())
        };
        let hot = (promoted + known_again) * stays;
        let out = (1.0 + known_again) / share;
        let cycle = self.queued + hot + out;
        Places {
            queued: self.queued / cycle,
            remembered: known_again / share / cycle,
            hot: if hot.is_finite() { hot / cycle } else { 1.0 },
        }
    }

    /// The mean time from when a link with this share of the visits enters until it is evicted, in visits of the instance.
    pub fn until_out(&self, share: f64) -> f64 {
        let places = self.places(share);
        let held = places.queued + places.hot;
        held / (1.0 - held).max(0.0) / share
    }

    /// How long an entry that is not visited stays, in visits of the instance.
    pub fn turnover(&self) -> f64 {
        self.round
    }
}

/// The time with which what grows with it comes to `room`.
fn such_that(room: f64, held: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 40.0_f64);
    for _ in 0..32 {
        let middle = f64::midpoint(low, high);
        if held(middle.exp()) < room {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}
