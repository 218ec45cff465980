//! Makes of waiting clicks what is kept of them.

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

/// A batch that is being made.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) clicks: Vec<Click>,
    places: HashMap<Pending, usize>,
}

impl Parser {
    /// Moves the oldest clicks of `raw` to `draft`, until `most` different ones are there. Those that are alike, of one
    /// second, become one: a burst on one link costs the store little more than a click.
    pub(super) fn fold(&mut self, raw: &mut VecDeque<Pending>, draft: &mut Draft, most: usize) {
        let mut taken = 0;
        // A burst comes in a row, mostly, and then nothing needs to be hashed.
        let mut last: Option<(&Pending, usize)> = None;
        for pending in &*raw {
            if let Some((same, place)) = last
                && same == pending
            {
                draft.clicks[place].number += 1;
            } else if let Some(place) = draft.places.get(pending) {
                draft.clicks[*place].number += 1;
                last = Some((pending, *place));
            } else if draft.clicks.len() == most {
                break;
            } else {
                let place = draft.clicks.len();
                draft.clicks.push(self.click(pending));
                draft.places.insert(pending.clone(), place);
                last = Some((pending, place));
            }
            taken += 1;
        }
        raw.drain(..taken);
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

    use super::{Draft, Parser};
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

        let (mut first, mut rest) = (Draft::default(), Draft::default());
        parser.fold(&mut raw, &mut first, 3);
        parser.fold(&mut raw, &mut rest, 3);
        let more = &mut VecDeque::from([click("one", "a", later(1002)), click("two", "a", later(1002))]);
        parser.fold(more, &mut rest, 3);

        let numbers = |draft: &Draft| -> Vec<(String, u32)> {
            draft
                .clicks
                .iter()
                .map(|click| (click.slug.to_string(), click.number))
                .collect()
        };
        assert_eq!(
            numbers(&first),
            [("a".to_owned(), 2), ("a".to_owned(), 1), ("b".to_owned(), 1)]
        );
        assert_eq!(numbers(&rest), [("a".to_owned(), 3), ("a".to_owned(), 1)]);
        assert!(raw.is_empty() && more.is_empty());
    }
}
