//! Batches of clicks as they are sent.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::pile::Folded;
use crate::domain::{Click, ClickBatch, Slug, day_of};

/// The most entries of a batch. It holds a connection and locks on its links, and others wait for them.
pub(super) const MOST: usize = 1000;

/// A batch, and what is known of its way to the store.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) batch: Arc<ClickBatch>,
    /// How often its outcome remained unknown.
    pub(super) tries: u32,
}

impl Sending {
    pub(super) fn new(made_at: Timestamp, clicks: Vec<Click>) -> Self {
        Self {
            batch: Arc::new(ClickBatch {
                id: id(made_at),
                made_at,
                clicks,
            }),
            tries: 0,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.batch.number()
    }

    /// The link that all its clicks are of, if that is one.
    pub(super) fn only_link(&self) -> Option<&Slug> {
        let first = &self.batch.clicks.first()?.slug;
        let is_only = self.batch.clicks.iter().all(|click| click.slug == *first);
        is_only.then_some(first)
    }

    /// What takes the id of the batch, and so keeps it from being stored later.
    pub(super) fn without_clicks(&self) -> Arc<ClickBatch> {
        Arc::new(ClickBatch {
            id: self.batch.id.clone(),
            made_at: self.batch.made_at,
            clicks: Vec::new(),
        })
    }

    /// Two batches of this one's clicks, made at `made_at` under ids of their own.
    pub(super) fn halves(&self, made_at: Timestamp, tries: u32) -> [Self; 2] {
        let (first, second) = self.batch.clicks.split_at(self.batch.clicks.len() / 2);
        [first, second].map(|half| Self {
            tries,
            ..Self::new(made_at, half.to_vec())
        })
    }
}

/// Ids of one time are neighbours in the index of the ids, where those of chance would each touch another page.
fn id(made_at: Timestamp) -> String {
    format!("{:012x}{}", made_at.as_millisecond(), nanoid::nanoid!(14))
}

/// A click as it is stored. `secrets` has the key of its day.
pub(super) fn click(folded: Folded, secrets: &HashMap<Timestamp, String>) -> Click {
    let Folded { kind, at, number, .. } = folded;
    let profile = Arc::unwrap_or_clone(kind.profile);
    let secret = secrets.get(&day_of(at));
    let visitor = kind.visitor.zip(secret);
    Click {
        number,
        at,
        bot: kind.bot,
        scan: kind.scan,
        counted: kind.counted,
        visitor: visitor.map(|(visitor, secret)| visitor.hash(secret, kind.slug.as_str())),
        slug: kind.slug,
        revision: kind.revision,
        referrer: profile.referrer,
        browser: profile.browser,
        system: profile.system,
        device: profile.device,
        country: profile.country,
        language: profile.language,
    }
}
