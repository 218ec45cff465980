//! Makes many links in one go, finds links that will do, and gives an answer that was given before.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::limits::network_of;
use super::links::{COLLISIONS_BEFORE_LONGER, Links, TRIES};
use super::mutations::run_to_end;
use super::{Caller, Error, Origin, audit};
use crate::domain::{ChangeKind, Fault, Link, LinkDraft, NewLink};
use crate::store::{self, Answer, BatchOutcome, Candidate, Made};

/// How long a request that is sent again gets its first answer.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// What became of one of the links that were asked for.
#[derive(Debug)]
pub enum Item {
    /// It was made.
    Made(Link),
    /// It was there already.
    Reused(Link),
    /// It was not made.
    Refused(Error),
}

/// Puts what became of each into an answer; `None` if it is none to be remembered.
pub type Render = Arc<dyn Fn(&[Item]) -> Option<Answer> + Send + Sync>;

/// The client's name for a request that it may send again.
#[derive(Debug, Clone)]
pub struct RequestName {
    /// The name.
    pub key: String,
    /// The client's IP address. Names of callers without a key are told apart by its network; it is not kept.
    pub client: IpAddr,
    /// SHA-256 of what is asked for.
    pub request: [u8; 32],
}

/// What came of a batch.
#[derive(Debug)]
pub enum Batch {
    /// The answer that was rendered.
    Answered(Answer),
    /// The answer that was given before.
    Replayed(Answer),
    /// There is no answer to be remembered.
    Items(Vec<Item>),
}

/// What one of the links that were asked for comes from.
#[derive(Debug, Clone)]
enum Source {
    /// A candidate of its own.
    Candidate(usize),
    /// The candidate of an earlier one that is the same.
    Same(usize),
    /// None.
    Refused(Vec<Fault>),
}

/// What is to be made.
#[derive(Debug, Clone, Default)]
struct Plan {
    sources: Vec<Source>,
    candidates: Vec<Candidate>,
    news: Vec<NewLink>,
}

impl Plan {
    fn items(&self, made: &[Made]) -> Vec<Item> {
        let item = |source: &Source| match source {
            Source::Refused(faults) => Item::Refused(Error::InvalidLink(faults.clone())),
            Source::Candidate(at) => self.item(*at, &made[*at]),
            Source::Same(at) => match self.item(*at, &made[*at]) {
                Item::Made(link) => Item::Reused(link),
                other => other,
            },
        };
        self.sources.iter().map(item).collect()
    }

    /// Those at these places, which at first are all.
    fn candidates_at(&self, places: &[usize]) -> Cow<'_, [Candidate]> {
        if places.len() == self.candidates.len() {
            return Cow::Borrowed(&self.candidates);
        }
        places.iter().map(|at| self.candidates[*at].clone()).collect()
    }

    fn item(&self, at: usize, made: &Made) -> Item {
        match made {
            Made::Inserted(revision) => Item::Made(Link {
                revision: *revision,
                ..self.candidates[at].link.clone()
            }),
            Made::Reused(link) => Item::Reused((**link).clone()),
            Made::SlugTaken => Item::Refused(Error::SlugTaken),
        }
    }
}

impl Links {
    /// Makes links that `caller` owns, each for itself: one that is refused keeps no other from being made. They
    /// are kept when this answers, and with a `name` so is the answer.
    pub async fn create_all(
        &self,
        caller: &Caller,
        drafts: Vec<Result<LinkDraft, Vec<Fault>>>,
        origin: Origin<'_>,
        name: Option<RequestName>,
        render: Render,
    ) -> Result<Batch, Error> {
        let now = self.clock.now();
        let plan = self.plan(caller, drafts, origin, now);
        let (links, caller) = (self.clone(), caller.clone());
        let creating = async move { links.create_planned(&caller, plan, now, name, render).await };
        run_to_end(&self.lifecycle, |_stop| creating).await
    }

    async fn create_planned(
        &self,
        caller: &Caller,
        mut plan: Plan,
        now: Timestamp,
        name: Option<RequestName>,
        render: Render,
    ) -> Result<Batch, Error> {
        let mut made = vec![Made::SlugTaken; plan.candidates.len()];
        let mut open: Vec<usize> = (0..made.len()).collect();
        for attempt in 1..=TRIES {
            let once = name.clone().map(|name| once(caller, name, now, &plan, &render));
            let candidates = plan.candidates_at(&open);
            let actor = caller.actor();
            let inserted = match self.store.insert_links(&candidates, once.as_ref(), &actor).await {
                Ok(inserted) => inserted,
                Err(err) => {
                    let slugs = candidates.iter().map(|candidate| &candidate.link.slug);
                    return Err(self.all_failed(&actor, ChangeKind::LinkCreated, slugs, err).await);
                }
            };
            let collided: Vec<usize> = match inserted {
                BatchOutcome::Replayed(answer) => return Ok(Batch::Replayed(answer)),
                BatchOutcome::Mismatch => return Err(Error::IdempotencyMismatch),
                BatchOutcome::Collided(which) => which,
                BatchOutcome::Done(done, answer) => {
                    for (at, done) in open.iter().zip(done) {
                        made[*at] = done;
                    }
                    if name.is_some() {
                        let items = plan.items(&made);
                        self.publish(caller, &items).await;
                        return Ok(answer.map_or(Batch::Items(items), Batch::Answered));
                    }
                    let taken =
                        |at: &usize| !plan.candidates[*at].chosen && matches!(made[*at], Made::SlugTaken);
                    open.iter().copied().filter(taken).collect()
                }
            };
            if collided.is_empty() {
                let items = plan.items(&made);
                self.publish(caller, &items).await;
                return Ok(render(&items).map_or(Batch::Items(items), Batch::Answered));
            }
            let longer = u8::from(attempt >= COLLISIONS_BEFORE_LONGER);
            for at in &collided {
                let length = plan.news[*at].length.unwrap_or(self.config.slug_length);
                plan.candidates[*at].link.slug = self.slugs.slug(length + longer);
            }
            if name.is_none() {
                open = collided;
            }
        }
        // The client asked for no slug, so that one is taken is not its fault.
        Err(Error::NoFreeSlug(TRIES))
    }

    fn plan(
        &self,
        caller: &Caller,
        drafts: Vec<Result<LinkDraft, Vec<Fault>>>,
        origin: Origin<'_>,
        now: Timestamp,
    ) -> Plan {
        let blocked = self.blocklist.current();
        let targets = self.config.target_policy(origin.host, &blocked);
        let mut plan = Plan::default();
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for draft in drafts {
            // Nobody knows which links of nobody's are whose.
            let reuse = matches!(&draft, Ok(draft) if draft.reuse_existing)
                && !matches!(caller, Caller::Anonymous { .. });
            let checked = draft.and_then(|draft| NewLink::check(draft, &targets, self.config.slugs));
            let mut new = match checked {
                Ok(new) => new,
                Err(faults) => {
                    plan.sources.push(Source::Refused(faults));
                    continue;
                }
            };
            new.owner = caller.owner().cloned();
            let same_target = places.entry(new.target.as_str().to_owned()).or_default();
            if reuse && let Some(at) = same_target.iter().find(|at| plan.news[**at] == new) {
                plan.sources.push(Source::Same(*at));
                continue;
            }
            let at = plan.candidates.len();
            same_target.push(at);
            let slug = new.slug.clone().unwrap_or_else(|| {
                let length = new.length.unwrap_or(self.config.slug_length);
                self.slugs.slug(length)
            });
            plan.candidates.push(Candidate {
                chosen: new.slug.is_some(),
                reuse,
                link: new.clone().into_link(slug, now),
            });
            plan.news.push(new);
            plan.sources.push(Source::Candidate(at));
        }
        plan
    }

    async fn publish(&self, caller: &Caller, items: &[Item]) {
        let links = || {
            items.iter().filter_map(|item| match item {
                Item::Made(link) => Some(link),
                Item::Reused(_) | Item::Refused(_) => None,
            })
        };
        let actor = caller.actor();
        for link in links() {
            audit::link(&actor, ChangeKind::LinkCreated, &link.slug);
        }
        self.resolver
            .publish_links(links().map(Link::redirect).collect())
            .await;
    }
}

/// The name of a request without an API key, which only the same network can repeat. A digest over both: the name that the
/// client made up keeps the network from being guessed.
fn anonymous_name(name: &RequestName) -> String {
    let digest = Sha256::new()
        .chain_update(network_of(name.client))
        .chain_update([0])
        .chain_update(&name.key)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn once(caller: &Caller, name: RequestName, now: Timestamp, plan: &Plan, render: &Render) -> store::Once {
    let (plan, render) = (plan.clone(), Arc::clone(render));
    store::Once {
        caller: caller.actor().to_string(),
        key: match caller {
            Caller::Admin | Caller::Operator | Caller::Key(_) => name.key,
            Caller::Anonymous { .. } => anonymous_name(&name),
        },
        request: name.request,
        now,
        expires_at: now.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX),
        render: Arc::new(move |made| render(&plan.items(made))),
    }
}
