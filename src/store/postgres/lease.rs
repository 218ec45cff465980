//! A borrowed connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::{ClientWrapper, Object};

use super::connections::Connections;
use super::gate::Permit;

/// A borrowed connection. It is given back after its statement; otherwise it is closed, and a statement that is still under way
/// is cancelled: the next one would wait behind it.
pub(super) struct Lease {
    held: Option<(Object, Permit)>,
    connections: Arc<Connections>,
    /// Whether a statement is under way.
    busy: AtomicBool,
    /// Whether a transaction is.
    transaction: bool,
}

impl Lease {
    pub(super) fn new(connections: Arc<Connections>, object: Object, permit: Permit) -> Self {
        Self {
            held: Some((object, permit)),
            connections,
            busy: AtomicBool::new(false),
            transaction: false,
        }
    }

    pub(super) fn client(&self) -> &ClientWrapper {
        let (object, _) = self
            .held
            .as_ref()
            .expect("a lease holds its connection until it is given back");
        object
    }

    /// A transaction begins, which ends with the connection unless it is committed or rolled back.
    pub(super) fn begin_transaction(&mut self) {
        self.transaction = true;
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
                self.connections.abandon(object, permit, !self.transaction);
            } else {
                self.connections.discard(object, permit);
            }
        }
    }
}
