//! Parses the headers of clicks, each different set of headers once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::intake::Pending;
use crate::domain::{Agent, Dimension, country, language, referrer};

/// How many user agents and how many referrers are remembered with what they say.
const REMEMBERED: usize = 1000;

/// What is stored of the headers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Profile {
    pub(super) referrer: Cow<'static, str>,
    pub(super) browser: &'static str,
    pub(super) system: &'static str,
    pub(super) device: &'static str,
    pub(super) country: Option<String>,
    pub(super) language: Cow<'static, str>,
}

impl Profile {
    /// The profile of clicks whose values were given up.
    pub(super) fn other() -> Self {
        let other = Dimension::OTHER;
        Self {
            referrer: Cow::Borrowed(other),
            browser: other,
            system: other,
            device: other,
            country: None,
            language: Cow::Borrowed(other),
        }
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.referrer.len() + self.language.len()
    }
}

/// A person who clicked: the client's IP address, and a hash of the user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Visitor {
    pub(super) address: Option<IpAddr>,
    pub(super) agent: u64,
}

/// A parsed click, without link and time.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) profile: Arc<Profile>,
    pub(super) bot: bool,
    /// The first bytes of the SHA-256 of the user agent.
    pub(super) agent: u64,
}

/// Parses, and remembers what it parsed.
#[derive(Debug, Default)]
pub(super) struct Parser {
    agents: HashMap<Box<str>, (Agent, u64)>,
    referrers: HashMap<Box<str>, Cow<'static, str>>,
    last: Option<(Pending, Parsed)>,
}

impl Parser {
    pub(super) fn parse(&mut self, pending: &Pending) -> Parsed {
        if let Some((last, parsed)) = &self.last
            && last.prefetch == pending.prefetch
            && last.has_texts_of(pending)
        {
            return parsed.clone();
        }
        let (agent, hash) = self.agent(pending.agent());
        let profile = Profile {
            referrer: self.referrer(pending.referrer()),
            browser: agent.browser,
            system: agent.system,
            device: agent.device,
            country: country(pending.country()),
            language: language(pending.language()),
        };
        let parsed = Parsed {
            profile: Arc::new(profile),
            bot: pending.prefetch || agent.bot,
            agent: hash,
        };
        self.last = Some((pending.clone(), parsed.clone()));
        parsed
    }

    /// Parsing costs more than all the rest, and few user agents make most of the clicks.
    fn agent(&mut self, text: &str) -> (Agent, u64) {
        if let Some(known) = self.agents.get(text) {
            return *known;
        }
        if self.agents.len() >= REMEMBERED {
            self.agents.clear();
        }
        let known = (Agent::of(text), first_bytes(Sha256::digest(text).into()));
        self.agents.insert(text.into(), known);
        known
    }

    fn referrer(&mut self, text: &str) -> Cow<'static, str> {
        if let Some(known) = self.referrers.get(text) {
            return known.clone();
        }
        if self.referrers.len() >= REMEMBERED {
            self.referrers.clear();
        }
        let host = referrer(text);
        self.referrers.insert(text.into(), host.clone());
        host
    }
}

impl Visitor {
    /// A hash that tells the visitors of one link and one day apart. The link is in it, so that nobody can follow a visitor
    /// from link to link.
    pub(super) fn hash(&self, secret: &str, slug: &str) -> i64 {
        let mut hash = Sha256::new();
        hash.update(secret);
        hash.update([0]);
        hash.update(slug);
        hash.update([0]);
        match self.address {
            Some(IpAddr::V4(address)) => hash.update(address.octets()),
            Some(IpAddr::V6(address)) => hash.update(address.octets()),
            None => {}
        }
        hash.update([0]);
        hash.update(self.agent.to_be_bytes());
        first_bytes(hash.finalize().into()).cast_signed()
    }
}

fn first_bytes(digest: [u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}
