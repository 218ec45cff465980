//! Takes many links down at once, or puts them up again.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mutations::run_to_end;
use super::{Caller, Error, Links, audit};
use crate::domain::{Actor, ChangeKind, Selection, Slug};
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
        if dry_run {
            self.count(&selection, &mut toggled).await?;
            return Ok(toggled);
        }
        let (links, actor) = (self.clone(), caller.actor());
        let changing = |stop: CancellationToken| async move {
            let walked = links.walk(&actor, &selection, &stop, &mut toggled).await;
            if toggled.count > 0 || walked.is_ok() {
                audit::links(&actor, &selection, toggled.count, walked.as_ref().err());
            }
            walked.map(|()| toggled)
        };
        run_to_end(&self.lifecycle, changing).await
    }

    async fn count(&self, selection: &Selection, toggled: &mut Toggled) -> Result<(), Error> {
        let began = Instant::now();
        let mut from = Place::default();
        loop {
            let selected = self.store.select_links(selection, &from, STEP).await?;
            toggled.note(selected.slugs.iter());
            match selected.next {
                Some(next) if began.elapsed() < TIME => from = next,
                next => {
                    toggled.complete = next.is_none();
                    return Ok(());
                }
            }
        }
    }

    /// Changes the links, step by step. A stop of the service ends it between two transactions.
    async fn walk(
        &self,
        actor: &Actor,
        selection: &Selection,
        stop: &CancellationToken,
        toggled: &mut Toggled,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut from = Place::default();
        loop {
            let selected = self.store.select_links(selection, &from, STEP).await?;
            for slugs in selected.slugs.chunks(TRANSACTION) {
                if stop.is_cancelled() {
                    toggled.complete = false;
                    return Ok(());
                }
                self.toggle_some(actor, selection, slugs, toggled).await?;
            }
            match selected.next {
                Some(next) if began.elapsed() < TIME => from = next,
                next => {
                    toggled.complete = next.is_none();
                    return Ok(());
                }
            }
        }
    }

    async fn toggle_some(
        &self,
        actor: &Actor,
        selection: &Selection,
        slugs: &[Slug],
        toggled: &mut Toggled,
    ) -> Result<(), Error> {
        let changed = self.store.toggle_links(selection, slugs, self.clock.now(), actor);
        let changed = match changed.await {
            Ok(changed) => changed,
            Err(err) => {
                let kind = ChangeKind::of_update(selection.disabled, !selection.disabled);
                return Err(self.all_failed(actor, kind, slugs, err).await);
            }
        };
        toggled.note(changed.iter().map(|redirect| &redirect.slug));
        self.resolver.publish_changes(changed).await;
        Ok(())
    }
}

impl Toggled {
    fn note<'a>(&mut self, slugs: impl ExactSizeIterator<Item = &'a Slug>) {
        self.count += u64::try_from(slugs.len()).unwrap_or(u64::MAX);
        let room = EXAMPLES - self.examples.len();
        self.examples.extend(slugs.take(room).cloned());
    }
}
