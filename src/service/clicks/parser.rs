//! Makes of waiting clicks what is kept of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::intake::Pending;
use crate::domain::{Agent, Click, country, day_of, language, referrer};

/// How many user agents are remembered with their families.
const AGENTS: usize = 1000;

/// What parsing needs to remember.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The key of each day's visitor hashes.
    pub(super) secrets: HashMap<Timestamp, String>,
    agents: HashMap<Box<str>, Agent>,
}

impl Parser {
    /// Takes the oldest clicks out of `raw`, until `most` different ones are there. Those that are alike, of one
    /// second, become one: a burst on one link costs the store little more than a click.
    pub(super) fn take(&mut self, raw: &mut VecDeque<Pending>, most: usize) -> Vec<Click> {
        let mut places = HashMap::new();
        let mut clicks: Vec<Click> = Vec::new();
        let mut taken = 0;
        // A burst comes in a row, mostly, and then nothing needs to be hashed.
        let mut last: Option<(_, usize)> = None;
        for pending in &*raw {
            let alike = pending.alike();
            if let Some((same, place)) = last
                && same == alike
            {
                clicks[place].number += 1;
                taken += 1;
                continue;
            }
            match places.entry(alike) {
                Entry::Occupied(place) => {
                    let place: usize = *place.get();
                    clicks[place].number += 1;
                    last = Some((alike, place));
                }
                Entry::Vacant(_) if clicks.len() == most => break,
                Entry::Vacant(place) => {
                    last = Some((alike, clicks.len()));
                    place.insert(clicks.len());
                    clicks.push(self.click(pending));
                }
            }
            taken += 1;
        }
        drop(places);
        raw.drain(..taken);
        clicks
    }

    fn click(&mut self, pending: &Pending) -> Click {
        let agent = self.agent(pending.agent());
        let secret = self.secrets.get(&day_of(pending.at)).map_or("", String::as_str);
        Click {
            number: 1,
            at: pending.at,
            slug: pending.slug.clone(),
            bot: pending.prefetch || agent.bot,
            scan: pending.scan,
            counted: pending.counted,
            visitor: visitor(secret, pending),
            referrer: referrer(pending.referrer()),
            browser: agent.browser,
            system: agent.system,
            device: agent.device,
            country: country(pending.country()),
            language: language(pending.language()),
        }
    }

    /// Parsing costs more than all the rest, and few user agents make most of the clicks.
    fn agent(&mut self, text: &str) -> Agent {
        if let Some(agent) = self.agents.get(text) {
            return *agent;
        }
        if self.agents.len() >= AGENTS {
            self.agents.clear();
        }
        let agent = Agent::of(text);
        self.agents.insert(text.into(), agent);
        agent
    }
}

/// Tells visitors of one link and one day apart. The link is in it, so that nobody can follow a visitor from
/// link to link.
fn visitor(secret: &str, pending: &Pending) -> i64 {
    let mut hash = Sha256::new();
    hash.update(secret);
    hash.update([0]);
    hash.update(pending.slug.as_str());
    hash.update([0]);
    match pending.address {
        Some(IpAddr::V4(address)) => hash.update(address.octets()),
        Some(IpAddr::V6(address)) => hash.update(address.octets()),
        None => {}
    }
    hash.update([0]);
    hash.update(pending.agent());
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use jiff::{SignedDuration, Timestamp};

    use super::Parser;
    use crate::service::Seen;

    #[test]
    fn only_clicks_that_are_alike_within_a_second_become_one() {
        let noon = Timestamp::constant(1_795_262_400, 0);
        let later = |millis| noon + SignedDuration::from_millis(millis);
        let click = |agent, slug: &str, at| {
            let seen = Seen {
                agent,
                ..Seen::default()
            };
            seen.pending(&slug.parse().unwrap(), false, at)
        };
        let mut raw = VecDeque::from([
            click("one", "a", noon),
            click("two", "a", noon),
            click("one", "a", later(999)),
            click("one", "b", noon),
            click("one", "a", later(1000)),
            click("one", "a", later(1001)),
        ]);
        let mut parser = Parser::default();

        let first = parser.take(&mut raw, 3);
        let rest = parser.take(&mut raw, 3);

        let numbers = |clicks: &[crate::domain::Click]| -> Vec<(String, u32)> {
            clicks
                .iter()
                .map(|click| (click.slug.to_string(), click.number))
                .collect()
        };
        assert_eq!(
            numbers(&first),
            [("a".to_owned(), 2), ("a".to_owned(), 1), ("b".to_owned(), 1)]
        );
        assert_eq!(numbers(&rest), [("a".to_owned(), 2)]);
        assert!(raw.is_empty());
    }
}
