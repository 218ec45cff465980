//! One look-up per slug at a time, however many wait for it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::Error;
use crate::cache::Known;
use crate::domain::Slug;
use crate::lifecycle::Lifecycle;

use tracing::{Instrument, Span};

/// What a look-up came to.
pub(super) type Outcome = Result<Known, Error>;

type Flight<T> = Shared<BoxFuture<'static, Result<T, Error>>>;

/// The look-ups under way, each of a `T`.
#[derive(Debug, Clone)]
pub(super) struct Flights<T: Clone = Known>(Arc<Mutex<HashMap<Slug, Flight<T>>>>);

impl<T: Clone> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// How many look-ups are under way.
    pub(super) fn number(&self) -> usize {
        self.0.lock().len()
    }

    /// The look-up of `slug` that is under way, or else the one that `start` begins. It runs in a task of
    /// its own: a visitor who leaves does not end it for the others. In a trace it belongs to `span`: that of
    /// whoever began it.
    pub(super) fn join<F>(
        &self,
        slug: &Slug,
        lifecycle: &Lifecycle,
        span: Span,
        start: impl FnOnce() -> F,
    ) -> Flight<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(slug) {
            return flight.clone();
        }
        let look_up = start();
        let landing = Landing {
            flights: self.clone(),
            slug: slug.clone(),
        };
        let task = lifecycle.spawn(|_stop| {
            async move {
                let outcome = look_up.await;
                drop(landing);
                outcome
            }
            .instrument(span)
        });
        let flight = async move { task.await.unwrap_or_else(|err| Err(err.into())) };
        let flight = flight.boxed().shared();
        flights.insert(slug.clone(), flight.clone());
        flight
    }
}

/// Takes a flight off the board, also when it ends by a panic.
struct Landing<T: Clone> {
    flights: Flights<T>,
    slug: Slug,
}

impl<T: Clone> Drop for Landing<T> {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.slug);
    }
}
