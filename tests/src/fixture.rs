//! What one test has for itself: a migrated database and a key prefix.

use std::time::{Duration, Instant, UNIX_EPOCH};

use engine::{
    broker::{Address, Connection, sampling},
    client::{Client, ClientOptions},
    job::{JobId, QueueName},
    keys::Keys,
    store::{Database, Store, StoreError, StoreErrorKind},
};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    servers::Servers,
    wait::{SETUP, eventually, patience},
};

/// One test's own corner of the servers.
pub struct Fixture {
    /// Postgres, migrated, through the engine.
    pub store: Store,
    /// The same database, for a test's own questions.
    pub pool: PgPool,
    /// `postgres://…` of this test's database.
    pub database_url: String,
    /// `redis://…`
    pub dragonfly_url: String,
    /// Dragonfly.
    pub address: Address,
    /// Keys under this test's own prefix.
    pub keys: Keys,
    /// Submits and subscribes.
    pub client: Client,
}

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

impl Fixture {
    /// A fresh corner.
    pub async fn new() -> Self {
        Self::on(&Servers::get().dragonfly_url).await
    }

    /// A fresh corner on another Dragonfly-protocol server.
    pub async fn on(dragonfly_url: &str) -> Self {
        let made = SETUP.time(Box::pin(Self::made_on(dragonfly_url))).await;
        made.unwrap_or_else(|limit| panic!("no database and connections of its own within {limit:?}"))
    }

    async fn made_on(dragonfly_url: &str) -> Self {
        let _ = rustls_provider(); // whoever comes second finds it installed
        let database_url = fresh_database().await;
        let store = connected(&database(&database_url)).await.unwrap();
        // A role may be called like our schema: a test's own tables stand where the service looks all the same.
        let options = database_url.parse::<PgConnectOptions>().unwrap().options([("search_path", "public")]);
        let pool = PgPool::connect_with(options).await.unwrap();
        let address = Address::parse(dragonfly_url, None).unwrap();
        let keys = Keys::new(format!("test-{}:", Uuid::now_v7().simple()));
        let client = Client::connect(ClientOptions::new(address.clone(), keys.clone())).await.unwrap();
        Self { store, pool, database_url, dragonfly_url: dragonfly_url.to_owned(), address, keys, client }
    }

    /// A connection of its own.
    pub async fn connection(&self) -> Connection {
        Connection::open(&self.address).await.unwrap()
    }

    /// How much stands in a queue: (unsettled, dead).
    pub async fn depth(&self, queue: &QueueName) -> (u64, u64) {
        let queues = engine::broker::registered(self.client.connection(), &self.keys).await.unwrap();
        let (mut unsettled, mut dead) = (0, 0);
        for tag in queues.get(queue).into_iter().flatten() {
            let depths = sampling::depths(self.client.connection(), &self.keys.partition(tag)).await.unwrap();
            unsettled += depths.unsettled();
            dead += depths.dead;
        }
        (unsettled, dead)
    }

    /// Waits until nothing of a queue is left unsettled; gives how many are dead.
    pub async fn until_idle(&self, queue: &QueueName) -> u64 {
        eventually("an idle queue", || async {
            let (unsettled, dead) = self.depth(queue).await;
            (unsettled == 0).then_some(dead)
        })
        .await
    }

    /// The committed result of a job, waited for.
    pub async fn result(&self, id: JobId) -> serde_json::Value {
        eventually("a committed result", || async { self.store.results(&[id]).await.unwrap().remove(&id) }).await.result
    }

    /// A number that a query gives.
    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

/// Settings for a database as tests use them.
pub fn database(url: &str) -> Database {
    Database {
        url: url.to_owned().into(),
        password: None,
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        recycle: Duration::from_secs(3600),
        statement_timeout: Duration::from_secs(60),
    }
}

/// A store over a database. Where the machine is slow, the server may not take a connection within the time limit of one.
pub(crate) async fn connected(settings: &Database) -> Result<Store, StoreError> {
    let begun = Instant::now();
    loop {
        match Store::connect(settings).await {
            Err(error) if error.kind() == StoreErrorKind::Infrastructure && begun.elapsed() < patience() => {}
            answer => return answer,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A database copied from one that is migrated once a run.
pub(crate) async fn fresh_database() -> String {
    let template = TEMPLATE.get_or_init(make_template).await;
    let name = format!("test_{}", Uuid::now_v7().simple());
    let mut admin = PgConnection::connect(&Servers::get().database_url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name} template {template}")))
        .execute(&mut admin)
        .await
        .unwrap();
    with_database(&name)
}

async fn make_template() -> String {
    std::thread::spawn(drop_old_databases);
    let name = format!("template_{}", Uuid::now_v7().simple());
    let store = connected(&database(&empty_database(&name).await)).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    name
}

/// Older than this, a test's database belongs to a run that is over.
const OLD: Duration = Duration::from_secs(3600);

/// What earlier runs left on this server, 14 MB each; beside the tests, for as long as they last.
#[tokio::main(flavor = "current_thread")]
async fn drop_old_databases() {
    let mut admin = PgConnection::connect(&Servers::get().database_url).await.unwrap();
    let names: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where datname ~ '^(test|template)_[0-9a-f]{32}$'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    for name in names.into_iter().filter(|name| is_old(name)) {
        // One that somebody uses all the same stays.
        drop(sqlx::query(sqlx::AssertSqlSafe(format!("drop database if exists {name}"))).execute(&mut admin).await);
    }
}

/// By the time in its name.
fn is_old(name: &str) -> bool {
    let made = name.split_once('_').and_then(|(_, id)| Uuid::parse_str(id).ok()?.get_timestamp());
    let age = |(seconds, _): (u64, u32)| (UNIX_EPOCH + Duration::from_secs(seconds)).elapsed().unwrap_or_default();
    made.is_some_and(|made| age(made.to_unix()) > OLD)
}

/// A new database with nothing in it; gives its address.
pub async fn empty_database(name: &str) -> String {
    let mut admin = PgConnection::connect(&Servers::get().database_url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
    with_database(name)
}

fn with_database(name: &str) -> String {
    let mut url: url::Url = Servers::get().database_url.parse().unwrap();
    url.set_path(name);
    url.into()
}

pub(crate) fn rustls_provider() -> Result<(), ()> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(drop)
}
