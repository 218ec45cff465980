//! Clicks that wait for the store: a bounded queue whose oldest go first when it is full.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::intake::Pending;

/// The queue.
#[derive(Debug)]
pub(super) struct Buffer {
    queue: Mutex<Queue>,
    bound: usize,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    clicks: VecDeque<Pending>,
    /// When the queue was last empty, as far as its oldest click goes.
    since: Option<Instant>,
}

impl Buffer {
    /// A queue of at most `bound` clicks that wakes the flusher when it is half full.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            queue: Mutex::default(),
            bound,
            wake: Notify::new(),
        }
    }

    /// Takes a click and answers how many were lost for it.
    pub(super) fn push(&self, click: Pending) -> u64 {
        let mut queue = self.queue.lock().expect("click lock poisoned");
        let mut dropped = None;
        if queue.clicks.len() >= self.bound {
            dropped = queue.clicks.pop_front();
        }
        queue.since.get_or_insert_with(Instant::now);
        queue.clicks.push_back(click);
        let full = queue.clicks.len().is_multiple_of((self.bound / 2).max(1));
        drop(queue);
        if full {
            self.wake.notify_one();
        }
        u64::from(dropped.is_some())
    }

    /// Takes the oldest clicks out, and tells since when they may have waited.
    pub(super) fn take(&self, most: usize) -> (VecDeque<Pending>, Option<Instant>) {
        let mut queue = self.queue.lock().expect("click lock poisoned");
        let number = most.min(queue.clicks.len());
        let taken = queue.clicks.drain(..number).collect();
        let since = queue.since;
        queue.since = (!queue.clicks.is_empty()).then(Instant::now);
        (taken, since)
    }

    /// How long the queue has not been emptied.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let since = self.queue.lock().expect("click lock poisoned").since;
        since.map(|since| since.elapsed())
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().expect("click lock poisoned").clicks.len()
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
