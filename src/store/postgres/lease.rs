//! A borrowed connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::{ClientWrapper, Object};

use super::connections::Connections;
use super::gate::Permit;

/// A borrowed connection. Unless it is given back, it is closed: the answer to an abandoned statement would still be under
/// way, and the next statement would wait behind it. A statement that is under way then is cancelled.
pub(super) struct Lease {
    held: Option<(Object, Permit)>,
    connections: Arc<Connections>,
    /// Whether a statement is under way.
    busy: AtomicBool,
}

impl Lease {
    pub(super) fn new(connections: Arc<Connections>, object: Object, permit: Permit) -> Self {
        Self {
            held: Some((object, permit)),
            connections,
            busy: AtomicBool::new(false),
        }
    }

    pub(super) fn client(&self) -> &ClientWrapper {
        let (object, _) = self
            .held
            .as_ref()
            .expect("a lease holds its connection until it is given back");
        object
    }

    /// Runs a statement to its end. If the future is dropped before, the connection is known to be at it still.
    pub(super) async fn busy_with<T>(&self, statement: impl Future<Output = T>) -> T {
        self.busy.store(true, Ordering::Relaxed);
        let result = statement.await;
        self.busy.store(false, Ordering::Relaxed);
        result
    }

    /// Lets the connection be used again.
    pub(super) fn give_back(mut self) {
        if let Some((object, permit)) = self.held.take() {
            // In this order: who gets the permit looks for the connection.
            drop(object);
            drop(permit);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((object, permit)) = self.held.take() {
            if *self.busy.get_mut() {
                self.connections.abandon(object, permit);
            } else {
                self.connections.discard(object, permit);
            }
        }
    }
}
