//! A bounded queue of clicks as redirects hand them over. A push copies and never waits.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::bound::Bound;
use super::intake::Pending;
use super::since::Since;

/// The queue.
#[derive(Debug)]
pub(super) struct Buffer {
    queue: Mutex<Queue>,
    /// When the queue was last empty. Written only under the queue's lock.
    since: Since,
    bound: Bound,
    half: Bound,
    half_full: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    clicks: VecDeque<Pending>,
    bytes: usize,
    /// Whether the folding task was woken since it last took clicks.
    woken: bool,
}

impl Buffer {
    /// A queue of at most `bound` clicks. It wakes the folding task when it is half full.
    pub(super) fn new(bound: Bound) -> Self {
        Self {
            queue: Mutex::default(),
            since: Since::default(),
            bound,
            half: bound.part(1, 2),
            half_full: Notify::new(),
        }
    }

    /// Queues a click; `false` if the queue is full now and the caller has to make room.
    pub(super) fn push(&self, click: Pending) -> bool {
        let mut queue = self.lock();
        if queue.clicks.is_empty() {
            self.since.set(Some(Instant::now()));
        }
        queue.bytes += click.bytes();
        queue.clicks.push_back(click);
        let (entries, bytes) = (queue.clicks.len(), queue.bytes);
        let wake = !queue.woken && self.half.is_reached(entries, bytes);
        queue.woken |= wake;
        drop(queue);
        if wake {
            self.half_full.notify_one();
        }
        !self.bound.is_reached(entries, bytes)
    }

    /// Takes the oldest clicks, at most `most`, and the time since when they may have waited.
    pub(super) fn take(&self, most: usize) -> (Vec<Pending>, Option<Instant>) {
        let mut queue = self.lock();
        let number = most.min(queue.clicks.len());
        let taken: Vec<Pending> = queue.clicks.drain(..number).collect();
        queue.bytes -= taken.iter().map(Pending::bytes).sum::<usize>();
        queue.woken = false;
        let since = self.since.get();
        self.since.set((!queue.clicks.is_empty()).then(Instant::now));
        (taken, since)
    }

    /// Since when the queue has not been empty.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().clicks.len()
    }

    /// Waits until the queue is half full.
    pub(super) async fn half_full(&self) {
        self.half_full.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}
