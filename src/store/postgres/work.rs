//! Several statements that happen together, or not at all.

use std::sync::Arc;

use deadpool_postgres::Transaction;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::failure::Failure;
use super::pool::{Lease, Parameter, Pool};
use crate::telemetry::metrics::Metrics;

/// A transaction. It is rolled back unless it is committed.
pub(super) struct Work<'a> {
    transaction: Transaction<'a>,
    /// For a pooler that keeps no statements.
    unnamed: bool,
    metrics: Arc<Metrics>,
}

impl<'a> Work<'a> {
    /// Begins a transaction on a connection that was borrowed from `pool`.
    pub(super) async fn begin(lease: &'a mut Lease, pool: &Pool) -> Result<Self, Failure> {
        Ok(Self {
            transaction: lease
                .client_mut()
                .transaction()
                .await
                .map_err(Failure::of_statement)?,
            unnamed: pool.is_unnamed(),
            metrics: Arc::clone(pool.metrics()),
        })
    }

    /// Runs a statement.
    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        let result = async {
            if self.unnamed {
                return self.transaction.query_typed(sql, parameters).await;
            }
            let statement = self.transaction.prepare_cached(sql).await?;
            let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
            self.transaction.query(&statement, &values).await
        };
        self.measured(sql, result).await
    }

    /// Runs a statement and answers how many rows it touched.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Failure> {
        let result = async {
            if self.unnamed {
                return self.transaction.execute_typed(sql, parameters).await;
            }
            let statement = self.transaction.prepare_cached(sql).await?;
            let values: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|(value, _)| *value).collect();
            self.transaction.execute(&statement, &values).await
        };
        self.measured(sql, result).await
    }

    /// Runs statements without parameters that are not to be kept, such as those that change a table.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.measured(sql, self.transaction.batch_execute(sql)).await
    }

    /// Makes it lasting.
    pub(super) async fn commit(self) -> Result<(), Failure> {
        let running = self.metrics.statements.begin_called("commit");
        let result = self.transaction.commit().await;
        running.end(&result);
        result.map_err(Failure::of_statement)
    }

    async fn measured<T>(
        &self,
        sql: &str,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let running = self.metrics.statements.begin(sql);
        let result = statement.await;
        running.end(&result);
        result.map_err(Failure::of_statement)
    }
}
