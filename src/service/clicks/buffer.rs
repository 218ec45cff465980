//! Clicks that wait for the store: a bounded queue whose oldest go first when it is full.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::Notify;

use super::intake::Pending;
use super::since::Since;

/// The queue.
#[derive(Debug)]
pub(super) struct Buffer {
    queue: Mutex<VecDeque<Pending>>,
    /// When the queue was last empty, as far as its oldest click goes. Set by whoever has the queue.
    since: Since,
    bound: usize,
    wake: Notify,
}

impl Buffer {
    /// A queue of at most `bound` clicks that wakes the flusher when it is half full.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            queue: Mutex::default(),
            since: Since::default(),
            bound,
            wake: Notify::new(),
        }
    }

    /// Takes a click and answers how many were lost for it.
    pub(super) fn push(&self, click: Pending) -> u64 {
        let mut queue = self.queue.lock().expect("click lock poisoned");
        let mut dropped = None;
        if queue.is_empty() {
            self.since.set(Some(Instant::now()));
        } else if queue.len() >= self.bound {
            dropped = queue.pop_front();
        }
        queue.push_back(click);
        let full = queue.len().is_multiple_of((self.bound / 2).max(1));
        drop(queue);
        if full {
            self.wake.notify_one();
        }
        u64::from(dropped.is_some())
    }

    /// Takes the oldest clicks out, and tells since when they may have waited.
    pub(super) fn take(&self, most: usize) -> (VecDeque<Pending>, Option<Instant>) {
        let mut queue = self.queue.lock().expect("click lock poisoned");
        let number = most.min(queue.len());
        let taken = queue.drain(..number).collect();
        let since = self.since.get();
        self.since.set((!queue.is_empty()).then(Instant::now));
        (taken, since)
    }

    /// Since when the queue has not been emptied.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since.get()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().expect("click lock poisoned").len()
    }

    /// Asks the flusher to begin.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the flusher shall begin.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}
