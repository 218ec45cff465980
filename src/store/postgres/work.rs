//! Several statements that happen together, or not at all.

use tokio_postgres::Row;

use super::failure::Failure;
use super::lease::Lease;
use super::pool::{Parameter, Pool};

/// A transaction. One that is neither committed nor rolled back ends with its connection.
pub(super) struct Work<'a> {
    pool: &'a Pool,
    lease: Lease,
}

impl<'a> Work<'a> {
    /// Begins a transaction with the time limits of the pool's class. They are set in the same message, and inside of the
    /// transaction, so that they hold behind a transaction-mode pooler too.
    pub(super) async fn begin(pool: &'a Pool) -> Result<Self, Failure> {
        let mut lease = pool.lease().await?;
        lease.begin_transaction();
        let work = Self { pool, lease };
        work.command("begin", pool.begin()).await?;
        Ok(work)
    }

    /// Runs a statement whose plan is kept.
    pub(super) async fn query_kept(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        self.learn(self.pool.run(&self.lease, sql, parameters).await)
    }

    /// Runs a statement that is planned for its very values.
    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        self.learn(self.pool.run_planned(&self.lease, sql, parameters).await)
    }

    /// Runs a statement whose plan is kept and answers how many rows it touched.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Failure> {
        self.learn(self.pool.run_blind(&self.lease, sql, parameters).await)
    }

    /// Runs statements without parameters that are not to be kept, such as those that change a table.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        let running = self.pool.metrics().statements.begin(sql);
        let done = self.lease.client().batch_execute(sql);
        self.learn(self.pool.measured(&self.lease, running, done).await)
    }

    /// Keeps what was done.
    pub(super) async fn commit(self) -> Result<(), Failure> {
        self.command("commit", "COMMIT").await?;
        self.lease.give_back();
        Ok(())
    }

    /// Undoes what was done.
    pub(super) async fn roll_back(self) -> Result<(), Failure> {
        self.command("rollback", "ROLLBACK").await?;
        self.lease.give_back();
        Ok(())
    }

    async fn command(&self, name: &'static str, sql: &str) -> Result<(), Failure> {
        let running = self.pool.metrics().statements.begin_called(name);
        let done = self.lease.client().batch_execute(sql);
        self.learn(self.pool.measured(&self.lease, running, done).await)
    }

    fn learn<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result {
            self.pool.learn_from(failure);
        }
        result
    }
}
