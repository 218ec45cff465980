//! How long an operation is waited for.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::failure::Failure;
use super::pool::Pool;
use crate::store::StoreError;
use crate::store::limits::LONG_LIMIT;

/// Gives up on a write after `limit` if the database says nothing at all, and later if it answers others.
pub(super) async fn within_or_longer<T>(
    pool: &Pool,
    limit: Duration,
    operation: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut operation = pin!(operation);
    match timeout(limit, &mut operation).await {
        Ok(result) => result,
        Err(_) if pool.pulse().is_recent() => within(LONG_LIMIT.saturating_sub(limit), operation).await,
        Err(_) => Err(too_late(limit)),
    }
}

fn too_late(limit: Duration) -> Failure {
    Failure::of_outcome(StoreError::unavailable(format!(
        "no answer within {} ms",
        limit.as_millis()
    )))
}

/// Gives up on an operation after `limit`; its connection is thrown away then.
pub(super) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, operation)
        .await
        .unwrap_or_else(|_| Err(too_late(limit)))
}
