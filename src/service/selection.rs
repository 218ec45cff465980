//! Takes many links down at once, or puts them up again.

use std::time::Duration;

use tokio::time::Instant;

use super::{Caller, Error, Links, audit};
use crate::domain::{Actor, Selection, Slug};
use crate::store::Place;

/// Links that are looked at in one step.
const STEP: u32 = 1000;

/// Links that are changed in one transaction.
const TRANSACTION: usize = 250;

/// Links that are shown of those that are meant.
const EXAMPLES: usize = 10;

/// After this time a request is answered, whatever is left to do: no front end cuts it off before.
const TIME: Duration = Duration::from_secs(20);

/// What became of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toggled {
    /// How many links were changed, or would be.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<Slug>,
    /// Whether that was all. If not, the same request does the next part.
    pub complete: bool,
}

impl Links {
    /// Takes down every link of `selection` that is up, or puts up every one that is down, as far as `caller` sees
    /// them; with `dry_run` only counts them. Each is changed by itself, so this can end in the middle.
    pub async fn toggle(
        &self,
        caller: &Caller,
        mut selection: Selection,
        dry_run: bool,
    ) -> Result<Toggled, Error> {
        let mut toggled = Toggled {
            count: 0,
            examples: Vec::new(),
            complete: true,
        };
        if let Some(own) = caller.held_to() {
            if selection.owner.as_ref().is_some_and(|owner| owner != own) {
                return Ok(toggled);
            }
            selection.owner = Some(own.clone());
        }
        let walked = self
            .walk(&caller.actor(), &selection, dry_run, &mut toggled)
            .await;
        if !dry_run && (toggled.count > 0 || walked.is_ok()) {
            audit::links(&caller.actor(), &selection, toggled.count, walked.as_ref().err());
        }
        walked.map(|()| toggled)
    }

    async fn walk(
        &self,
        actor: &Actor,
        selection: &Selection,
        dry_run: bool,
        toggled: &mut Toggled,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut from = Place::default();
        loop {
            let selected = self.store.select_links(selection, &from, STEP).await?;
            if dry_run {
                toggled.note(selected.slugs.iter());
            } else {
                for slugs in selected.slugs.chunks(TRANSACTION) {
                    let now = self.clock.now();
                    let changed = self.store.toggle_links(selection, slugs, now, actor).await?;
                    toggled.note(changed.iter().map(|redirect| &redirect.slug));
                    self.resolver.publish_changes(changed).await;
                }
            }
            match selected.next {
                None => return Ok(()),
                Some(_) if began.elapsed() >= TIME => {
                    toggled.complete = false;
                    return Ok(());
                }
                Some(next) => from = next,
            }
        }
    }
}

impl Toggled {
    fn note<'a>(&mut self, slugs: impl ExactSizeIterator<Item = &'a Slug>) {
        self.count += u64::try_from(slugs.len()).unwrap_or(u64::MAX);
        let room = EXAMPLES - self.examples.len();
        self.examples.extend(slugs.take(room).cloned());
    }
}
