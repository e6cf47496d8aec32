//! The pool of connections to Postgres.

use std::{str::FromStr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;

/// Where Postgres is, and how it is used.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://user:password@host/database`.
    pub url: SecretString,
    /// The password, used in place of one in the URL; any characters, as they are.
    pub password: Option<SecretString>,
    /// The most connections at once.
    pub max_connections: u32,
    /// How long to wait for a free connection, and then to make one where none is there.
    pub acquire_timeout: Duration,
    /// A connection is replaced after this time.
    pub recycle: Duration,
    /// A statement that runs longer is ended by the server.
    pub statement_timeout: Duration,
}

/// How much longer than the server works on a statement its answer is waited for.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// How much longer than a statement may take the server keeps a transaction in which nothing is said: one whose
/// connection the network forgot holds its rows until then. Longer than Dragonfly may take to answer in between.
const IDLE: Duration = Duration::from_secs(15);

/// A connection that takes longer to give a sign of life is dead, though nobody has said so.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// So long ago is just now.
const LATELY: Duration = Duration::from_secs(1);

/// How long the first connection may take.
const FIRST: Duration = Duration::from_secs(10);

/// Where a role is called like our schema `tripsage`, the usual search path would begin with that schema, and tables would
/// be made and sought in it: the part that follows the role's name is left out.
const SEARCH_PATH: &str = "\
select set_config('search_path', coalesce(nullif(regexp_replace(current_setting('search_path'), '\"\\$user\"\\s*,?\\s*', ''), ''), 'public'), false)";

fn with_password(options: PgConnectOptions, password: Option<&SecretString>) -> PgConnectOptions {
    match password {
        Some(password) => options.password(password.expose_secret()),
        None => options,
    }
}

async fn without_own_schema(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(SEARCH_PATH).execute(connection).await.map(drop)
}

/// A network may forget a connection and say nothing: whoever waits for a lost answer would wait for a quarter of an hour.
/// Boxed, so that no statement makes what waits for it large.
pub(super) fn answered<T>(
    within: Option<Duration>,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> impl Future<Output = Result<T, sqlx::Error>> {
    let asked = Box::pin(asked);
    async move {
        let Some(within) = within else { return asked.await };
        let late = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {within:?}"));
        tokio::time::timeout(within, asked).await.unwrap_or(Err(sqlx::Error::Io(late)))
    }
}

/// Asked whenever a connection is taken from the pool; one that was given back just now has been asked.
async fn lives_still(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if idle_for < LATELY { Ok(true) } else { lives(connection).await }
}

/// Asked whenever a connection is given back; one that fails is closed.
async fn lives(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    answered(Some(SIGN_OF_LIFE), connection.ping()).await.map(|()| true)
}

/// Postgres. Cheap to clone; clones share the pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pool: PgPool,
    /// One for each connection that there may be.
    turns: Arc<Semaphore>,
    /// How long an answer may take: longer than the server works on any statement.
    pub(super) answered_within: Duration,
}

impl Store {
    /// Connects, and proves it with one connection.
    ///
    /// # Errors
    /// Says that the URL is none, or that the server cannot be reached or refuses; never shows the password.
    pub async fn connect(database: &Database) -> Result<Self, StoreError> {
        let failed = StoreError::new("connect to Postgres");
        let options = match PgConnectOptions::from_str(database.url.expose_secret()) {
            Ok(options) => with_password(options, database.password.as_ref()),
            Err(error) => return Err(failed(error)),
        };
        let limits = [
            ("statement_timeout", database.statement_timeout),
            ("idle_in_transaction_session_timeout", database.statement_timeout + IDLE),
        ];
        let limits = limits.map(|(name, limit)| (name, limit.as_millis().to_string()));
        let options = options.application_name("tripsage").options(limits);
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
            .test_before_acquire(false)
            .before_acquire(|connection, seen| Box::pin(lives_still(connection, seen.idle_for)))
            .after_release(|connection, _| Box::pin(lives(connection)))
            .after_connect(|connection, _| Box::pin(without_own_schema(connection)));
        let answered_within = database.statement_timeout + ON_ITS_WAY;
        let turns = Arc::new(Semaphore::new(database.max_connections as usize));
        Ok(Self { pool: pool.connect_lazy_with(options), turns, answered_within })
    }

    /// Waits for the turn to use a connection; it is over when this is dropped.
    ///
    /// The pool's patience begins when it is asked. Behind a queue as long as that, whoever comes to its head has a moment
    /// left, too short to connect, and a pool that has lost its connections stays without any while the demand goes on. So
    /// the queue is here, and the pool's whole patience is for connecting.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let come = tokio::time::timeout(self.pool.options().get_acquire_timeout(), turn).await;
        come.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Asks the pool for something that needs a connection; whoever asks has its turn.
    pub(super) async fn asked<T>(&self, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        answered(Some(self.pool.options().get_acquire_timeout() + self.answered_within), asked).await
    }

    /// Asks the pool for something in its turn.
    pub(super) async fn asked_in_turn<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let _turn = self.turn().await?;
        self.asked(asked).await
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// When none comes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.asked_in_turn(sqlx::query("select 1").execute(&self.pool)).await;
        answer.map(drop).map_err(StoreError::new("ask Postgres"))
    }

    /// Closes every connection once it is free.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The most connections at once, and how long one is waited for.
    pub fn limits(&self) -> (u32, Duration) {
        let options = self.pool.options();
        (options.get_max_connections(), options.get_acquire_timeout())
    }

    /// Connections open now, and how many of them are free.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }
}
