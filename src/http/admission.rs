//! Sheds requests of the API while as many are at work, or as many exports under way, as may be.
//!
//! What waits in a queue takes memory and time from what is being done, and is answered when nobody wants it any more.
//! Redirects and probes are always let in: most need no more than a look into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use actix_web::Error;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use super::services;
use crate::service;

/// How many requests of the API are at work.
#[derive(Debug)]
pub struct Admission {
    most: usize,
    at_work: AtomicUsize,
    exports: Arc<Semaphore>,
    since: Instant,
    /// Turned away, and not told of yet.
    untold: AtomicU64,
    /// The second in which it was last told.
    told_in: AtomicU64,
}

impl Admission {
    /// Lets `most` requests in at once, and `exports` exports.
    #[must_use]
    pub fn new(most: usize, exports: usize) -> Self {
        Self {
            most,
            at_work: AtomicUsize::new(0),
            exports: Arc::new(Semaphore::new(exports)),
            since: Instant::now(),
            untold: AtomicU64::new(0),
            told_in: AtomicU64::new(0),
        }
    }

    fn enter(&self) -> Option<Entered<'_>> {
        let entered = Entered(self);
        (self.at_work.fetch_add(1, Ordering::Relaxed) < self.most).then_some(entered)
    }

    /// Counts an export in, until the permit is dropped with its stream: a request is at work only until the head of its
    /// answer is made. `None` if as many are under way as may be.
    pub(super) fn export(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.exports).try_acquire_owned().ok();
        if permit.is_none() {
            self.tell();
        }
        permit
    }

    /// One line a second, not one for each: whoever is turned away must cost next to nothing.
    fn tell(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let second = self.since.elapsed().as_secs() + 1;
        if self.told_in.swap(second, Ordering::Relaxed) != second {
            let number = self.untold.swap(0, Ordering::Relaxed);
            tracing::warn!(
                number,
                most = self.most,
                "{number} requests of the API were turned away"
            );
        }
    }
}

/// Somebody who was counted in.
struct Entered<'a>(&'a Admission);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wraps the API. It is outside of everything that costs: the span, the line, the key and the body.
pub(super) async fn admit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let services = web::Data::clone(services(request.request()));
    if let Some(_entered) = services.admission.enter() {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    services.metrics.shed.add_one();
    services.admission.tell();
    let refusal = Problem::from(service::Error::Overloaded);
    Ok(request.error_response(refusal).map_into_right_body())
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn whoever_leaves_makes_room() {
        let admission = Admission::new(2, 1);

        let (first, second) = (admission.enter(), admission.enter());
        assert!(first.is_some() && second.is_some() && admission.enter().is_none());
        drop(first);
        assert!(admission.enter().is_some());
        let export = admission.export();
        assert!(export.is_some() && admission.export().is_none());
        drop(export);
        assert!(admission.export().is_some());
    }
}
