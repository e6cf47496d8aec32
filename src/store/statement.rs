//! Statements of a job's own, alone or inside a settlement's transaction.

use std::time::{Duration, Instant};

use sqlx::{
    Encode, Postgres, Row as _, Type,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    connect::{Store, answered},
    error::StoreError,
};

/// How long a connection is kept from the pool, which looks after its age and health.
const KEPT: Duration = Duration::from_secs(1);

/// A statement with its parameters. Many rows travel as arrays: `insert … select * from unnest($1::uuid[], $2::text[])`.
pub struct Statement {
    query: Query<'static, Postgres, PgArguments>,
}

/// A statement, its parameters still to be bound as `$1`, `$2`, …
pub fn statement(sql: &'static str) -> Statement {
    Statement { query: sqlx::query(sql) }
}

/// A statement that was put together at run time from parts that are no user's input: a dimension, an index name.
pub fn built(sql: String) -> Statement {
    Statement { query: sqlx::query(sqlx::AssertSqlSafe(sql)) }
}

impl Statement {
    /// Binds the next parameter.
    #[must_use]
    pub fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres>>(mut self, value: T) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// Planned anew at each use, for what asks by key in a table that is empty now and large in a moment. A plan that was
    /// made while it was empty reads all of it for each question, and a connection keeps its plans until the table is
    /// analysed. Costs one more question to Postgres.
    #[must_use]
    pub fn planned_anew(mut self) -> Self {
        self.query = self.query.persistent(false);
        self
    }
}

/// A row of an answer.
pub struct Row(PgRow);

impl Row {
    /// The value of a column.
    ///
    /// # Errors
    /// When there is no such column or it is of another type.
    pub fn get<'r, T: sqlx::Decode<'r, Postgres> + Type<Postgres>>(
        &'r self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        self.0.try_get(column).map_err(StoreError::new("read a column"))
    }
}

/// An open transaction.
pub struct Tx {
    pub(super) inner: sqlx::Transaction<'static, Postgres>,
    /// How long an answer may take; none for what takes its time.
    within: Option<Duration>,
    _turn: OwnedSemaphorePermit,
}

impl Tx {
    /// Runs a statement; gives how many rows it touched.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let done = answered(self.within, statement.query.execute(&mut *self.inner)).await;
        Ok(done.map_err(StoreError::new("run a statement"))?.rows_affected())
    }

    /// Runs a statement; gives its rows.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let rows = answered(self.within, statement.query.fetch_all(&mut *self.inner)).await;
        Ok(rows.map_err(StoreError::new("run a statement"))?.into_iter().map(Row).collect())
    }

    /// What follows in this transaction may take as long as it takes, and so may what happens beside it.
    ///
    /// # Errors
    /// When Postgres could not be asked.
    pub async fn without_time_limit(&mut self) -> Result<(), StoreError> {
        self.execute(statement("set local statement_timeout = 0")).await?;
        self.execute(statement("set local idle_in_transaction_session_timeout = 0")).await?;
        self.within = None;
        Ok(())
    }

    /// Makes everything done since [`Store::begin`] last.
    ///
    /// # Errors
    /// When Postgres refused: then nothing was done. When it did not answer: then everything may have been done.
    pub async fn commit(self) -> Result<(), StoreError> {
        answered(self.within, self.inner.commit()).await.map_err(StoreError::new("commit"))
    }
}

/// A connection that is kept for one statement after the other: to give one back and take one again costs questions.
pub struct Kept {
    inner: PoolConnection<Postgres>,
    since: Instant,
    within: Duration,
    _turn: OwnedSemaphorePermit,
}

impl Kept {
    /// Runs one statement on its own; gives how many rows it touched.
    ///
    /// # Errors
    /// What Postgres refused. Whether the connection is still good is found out when it is dropped.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let done = answered(Some(self.within), statement.query.execute(&mut *self.inner)).await;
        Ok(done.map_err(StoreError::new("run a statement"))?.rows_affected())
    }

    /// Whether it was taken so lately that it may be used again without going back to the pool first.
    pub fn is_fresh(&self) -> bool {
        self.since.elapsed() < KEPT
    }
}

impl Store {
    /// A connection of the pool, to keep for a moment.
    ///
    /// # Errors
    /// When none is to be had.
    pub async fn keep(&self) -> Result<Kept, StoreError> {
        let failed = StoreError::new("take a connection");
        let taken = async {
            let turn = self.turn().await?;
            Ok((self.asked(self.pool.acquire()).await?, turn))
        };
        let (inner, turn) = taken.await.map_err(failed)?;
        Ok(Kept { inner, since: Instant::now(), within: self.answered_within, _turn: turn })
    }

    /// Opens a transaction; dropped without a commit, it is rolled back.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let failed = StoreError::new("begin a transaction");
        let begun = async {
            let turn = self.turn().await?;
            Ok((self.asked(self.pool.begin()).await?, turn))
        };
        let (inner, turn) = begun.await.map_err(failed)?;
        Ok(Tx { inner, within: Some(self.answered_within), _turn: turn })
    }

    /// Runs one statement on its own; gives how many rows it touched.
    ///
    /// # Errors
    /// What Postgres refused.
    pub async fn execute(&self, statement: Statement) -> Result<u64, StoreError> {
        let done = self.asked_in_turn(statement.query.execute(&self.pool)).await;
        Ok(done.map_err(StoreError::new("run a statement"))?.rows_affected())
    }

    /// Runs one statement on its own; gives its rows.
    ///
    /// # Errors
    /// What Postgres refused, or that it could not be asked.
    pub async fn fetch(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let rows = self.asked_in_turn(statement.query.fetch_all(&self.pool)).await;
        Ok(rows.map_err(StoreError::new("run a statement"))?.into_iter().map(Row).collect())
    }
}
