//! Several statements that happen together, or not at all.

use deadpool_postgres::Transaction;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::pool::{Lease, Parameter};

/// A transaction. It is rolled back unless it is committed.
pub(super) struct Work<'a> {
    transaction: Transaction<'a>,
    unnamed: bool,
}

impl<'a> Work<'a> {
    /// Begins a transaction on a borrowed connection; `unnamed` is for a pooler that keeps no statements.
    pub(super) async fn begin(lease: &'a mut Lease, unnamed: bool) -> Result<Self, Failure> {
        Ok(Self {
            transaction: lease
                .client_mut()
                .transaction()
                .await
                .map_err(Failure::of_statement)?,
            unnamed,
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
        result.await.map_err(Failure::of_statement)
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
        result.await.map_err(Failure::of_statement)
    }

    /// Runs statements without parameters that are not to be kept, such as those that change a table.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.transaction
            .batch_execute(sql)
            .await
            .map_err(Failure::of_statement)
    }

    /// Makes it lasting.
    pub(super) async fn commit(self) -> Result<(), Failure> {
        self.transaction.commit().await.map_err(Failure::of_statement)
    }
}
