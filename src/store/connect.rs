//! The pool of connections to Postgres.

use std::{str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::error::StoreError;

/// Where Postgres is, and how it is used.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://user:password@host/database`.
    pub url: SecretString,
    /// The most connections at once.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// A connection is replaced after this time.
    pub recycle: Duration,
    /// A statement that runs longer is ended by the server.
    pub statement_timeout: Duration,
}

/// How long the first connection may take.
const FIRST: Duration = Duration::from_secs(10);

/// Where a role is called like our schema `tripsage`, the usual search path would begin with that schema, and tables would
/// be made and sought in it: the part that follows the role's name is left out.
const SEARCH_PATH: &str = "\
select set_config('search_path', coalesce(nullif(regexp_replace(current_setting('search_path'), '\"\\$user\"\\s*,?\\s*', ''), ''), 'public'), false)";

async fn without_own_schema(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(SEARCH_PATH).execute(connection).await.map(drop)
}

/// Postgres. Cheap to clone; clones share the pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pool: PgPool,
}

impl Store {
    /// Connects, and proves it with one connection.
    ///
    /// # Errors
    /// Says that the URL is none, or that the server cannot be reached or refuses; never shows the password.
    pub async fn connect(database: &Database) -> Result<Self, StoreError> {
        let failed = StoreError::new("connect to Postgres");
        let options = match PgConnectOptions::from_str(database.url.expose_secret()) {
            Ok(options) => options,
            Err(error) => return Err(failed(error)),
        };
        let timeout_ms = database.statement_timeout.as_millis().to_string();
        let options = options.application_name("tripsage").options([("statement_timeout", timeout_ms)]);
        // Asked once without the pool, whose own error would only say that it waited.
        let first = tokio::time::timeout(database.acquire_timeout.min(FIRST), PgConnection::connect_with(&options));
        let failed = StoreError::new("connect to Postgres");
        match first.await {
            Ok(Ok(connection)) => drop(connection.close().await),
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => return Err(failed(sqlx::Error::PoolTimedOut)),
        }
        let pool = PgPoolOptions::new()
            .max_connections(database.max_connections)
            .acquire_timeout(database.acquire_timeout)
            .max_lifetime(database.recycle)
            .after_connect(|connection, _| Box::pin(without_own_schema(connection)));
        Ok(Self { pool: pool.connect_lazy_with(options) })
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.pool).await.map(drop).map_err(StoreError::new("ask Postgres"))
    }

    /// Closes every connection once it is free.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Connections open now, and how many of them are free.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }
}
