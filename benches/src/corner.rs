//! What one measure has for itself on the servers: a key prefix, and the run's own database, emptied.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use engine::{
    broker::{Address, register},
    client::{Client, ClientOptions, Guarantees},
    keys::Keys,
    partition::{Tag, tags},
    policy::Durability,
    store::Store,
};
use fred::{
    clients::Client as Fred,
    interfaces::ClientLike,
    types::{Builder, CustomCommand, Value, config::Config},
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use crate::{
    noop,
    process::{self, Worker},
    worker,
};

/// Where the servers are.
#[derive(Clone)]
pub(crate) struct Servers {
    /// `redis://…`
    pub(crate) dragonfly_url: String,
    /// `postgres://…`, its user may create databases.
    pub(crate) database_url: String,
}

impl Servers {
    /// As `make bench` says it.
    #[allow(clippy::disallowed_methods, reason = "the benchmark is told its servers by the environment")]
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let variable = |name| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set: run `make bench`, which starts the servers"))
        };
        Ok(Self { dragonfly_url: variable("TRIPSAGE_DRAGONFLY_URL")?, database_url: variable("TRIPSAGE_DB_URL")? })
    }
}

/// The run's own database; dropped at its end.
pub(crate) struct Scratch {
    admin: PgConnection,
    name: String,
    /// `postgres://…` of it.
    pub(crate) url: String,
}

/// What Postgres' own limits are measured with: a key as jobs have, a short text, and 300 bytes of JSON.
pub(crate) const ROWS: &str =
    "create table bench_rows (id uuid primary key, kind text not null, result jsonb not null)";

const EMPTY: &str = "truncate job_results, job_journal, bench_rows";

/// What makes the JSON of a row, `{"n":1,"pad":"…"}`, 300 bytes.
pub(crate) const PAD: usize = 284;

impl Scratch {
    /// Creates and migrates it.
    pub(crate) async fn create(servers: &Servers) -> anyhow::Result<Self> {
        let scratch = Self::empty(servers).await?;
        let store = Store::connect(&worker::database(&scratch.url)).await?;
        store.migrate().await?;
        store.close().await;
        run(&mut PgConnection::connect(&scratch.url).await?, ROWS.to_owned()).await?;
        Ok(scratch)
    }

    /// Creates it with nothing in it.
    pub(crate) async fn empty(servers: &Servers) -> anyhow::Result<Self> {
        let mut admin = PgConnection::connect(&servers.database_url).await.context("connect to Postgres")?;
        let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
        run(&mut admin, format!("create database {name}")).await?;
        let mut url: url::Url = servers.database_url.parse().context("read TRIPSAGE_DB_URL")?;
        url.set_path(&name);
        Ok(Self { admin, name, url: url.into() })
    }

    /// Drops it.
    pub(crate) async fn remove(mut self) -> anyhow::Result<()> {
        run(&mut self.admin, format!("drop database {} with (force)", self.name)).await
    }
}

async fn run(connection: &mut PgConnection, sql: String) -> anyhow::Result<()> {
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// A corner: producer, observers, keys.
pub(crate) struct Corner {
    /// `redis://…`
    pub(crate) dragonfly_url: String,
    /// `postgres://…` of the run's own database.
    pub(crate) database_url: String,
    /// Keys under a prefix of its own.
    pub(crate) keys: Keys,
    /// Submits.
    pub(crate) client: Client,
    /// A plain client of the same server, to look from the outside.
    pub(crate) plain: Fred,
    /// The same for Postgres.
    pub(crate) postgres: PgConnection,
    partitions: Vec<Tag>,
}

impl Corner {
    /// A fresh corner with the queue's partitions known, no result in the database, and no checkpoint due soon.
    pub(crate) async fn new(servers: &Servers, scratch: &Scratch, n_partitions: u16) -> anyhow::Result<Self> {
        let keys = Keys::new(format!("bench-{}:", uuid::Uuid::now_v7().simple()));
        let address = Address::parse(&servers.dragonfly_url, None)?;
        let client = Client::connect(ClientOptions::new(address, keys.clone())).await?;
        let wanted = tags(&noop::QUEUE, n_partitions, worker::SERVER_THREADS);
        let partitions = register(client.connection(), &keys, &noop::QUEUE, &wanted).await?;
        let mut postgres = PgConnection::connect(&scratch.url).await?;
        run(&mut postgres, EMPTY.to_owned()).await?;
        run(&mut postgres, "checkpoint".to_owned()).await.ok(); // only a superuser may
        let (dragonfly_url, database_url) = (servers.dragonfly_url.clone(), scratch.url.clone());
        let plain = plain(&dragonfly_url).await?;
        Ok(Self { dragonfly_url, database_url, keys, client, plain, postgres, partitions })
    }

    /// From now on its jobs are journaled: accepted by a committed row in Postgres.
    pub(crate) async fn journal(&mut self) -> anyhow::Result<()> {
        // The first worker on these keys begins a new generation of memory; what was enqueued before would count as lost.
        Worker::start(self, 1, process::usual()).await?.stop().await?;
        let guarantees = Guarantees { durability: Durability::Journaled, ..Guarantees::default() };
        let options = ClientOptions { guarantees, ..self.client.options().clone() };
        let store = Store::connect(&worker::database(&self.database_url)).await?;
        self.client = Client::connect(options).await?.with_journal(store);
        Ok(())
    }

    /// Rows of the journal: jobs that are accepted and not settled.
    pub(crate) async fn n_journaled(&mut self) -> anyhow::Result<usize> {
        let query = sqlx::query_scalar("select count(*) from job_journal");
        let journaled: i64 = query.fetch_one(&mut self.postgres).await?;
        Ok(usize::try_from(journaled)?)
    }

    /// How many jobs have been settled: the partitions' own counts of completions.
    pub(crate) async fn n_settled(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for tag in &self.partitions {
            let control = self.keys.partition(tag).control;
            let seq: Option<u64> = command(&self.plain, "HGET", vec![control.into(), "seq".into()]).await?.convert()?;
            sum += seq.unwrap_or_default();
        }
        Ok(sum)
    }

    /// Entries in all streams of the queue.
    pub(crate) async fn n_waiting(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for tag in &self.partitions {
            for lane in self.keys.partition(tag).lanes {
                sum += command(&self.plain, "XLEN", vec![lane.into()]).await?.convert::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// Jobs of the queue that are not due yet.
    pub(crate) async fn n_delayed(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for tag in &self.partitions {
            sum +=
                command(&self.plain, "ZCARD", vec![self.keys.partition(tag).later.into()]).await?.convert::<u64>()?;
        }
        Ok(sum)
    }

    /// Waits until at least `n` jobs are settled; gives how many are, and when.
    pub(crate) async fn until_settled(&self, n: u64) -> anyhow::Result<(u64, Instant)> {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let settled = self.n_settled().await?;
            if settled >= n {
                return Ok((settled, Instant::now()));
            }
            if settled != last {
                (last, since) = (settled, Instant::now());
            }
            if since.elapsed() > Duration::from_secs(30) {
                bail!("no job was settled for 30 s; {settled} of {n} are");
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Fails unless exactly `n` results are committed and nothing is left in the streams.
    pub(crate) async fn verify(&mut self, n: usize) -> anyhow::Result<()> {
        let query = sqlx::query_scalar("select count(*) from job_results");
        let committed: i64 = query.fetch_one(&mut self.postgres).await?;
        let waiting = self.n_waiting().await?;
        ensure!(
            usize::try_from(committed)? == n && waiting == 0,
            "{n} results were to be committed, {committed} are, and {waiting} entries are left"
        );
        Ok(())
    }

    /// Fails unless as many results are committed as jobs were settled beyond the first so many, whose rows are forgotten.
    pub(crate) async fn verify_settled_since(&mut self, before: u64) -> anyhow::Result<()> {
        let query = sqlx::query_scalar("select count(*) from job_results");
        let committed: i64 = query.fetch_one(&mut self.postgres).await?;
        let settled = self.n_settled().await? - before;
        ensure!(
            u64::try_from(committed)? == settled,
            "{settled} jobs are settled and {committed} results are committed"
        );
        Ok(())
    }

    /// Fails unless so many rows of a limit are committed.
    pub(crate) async fn verify_rows(&mut self, n: usize) -> anyhow::Result<()> {
        let query = sqlx::query_scalar("select count(*) from bench_rows");
        let committed: i64 = query.fetch_one(&mut self.postgres).await?;
        ensure!(usize::try_from(committed)? == n, "{n} rows were to be committed, {committed} are");
        Ok(())
    }

    /// Empties the tables of results, of journaled jobs and of rows.
    pub(crate) async fn forget_rows(&mut self) -> anyhow::Result<()> {
        run(&mut self.postgres, EMPTY.to_owned()).await
    }

    /// Deletes its keys.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        unlink_all(&self.plain, format!("{}*", self.keys.prefix())).await?;
        self.plain.quit().await?;
        self.postgres.close().await?;
        Ok(())
    }
}

/// Deletes every key that has this in its name.
pub(crate) async fn unlink(servers: &Servers, name: &str) -> anyhow::Result<()> {
    let plain = plain(&servers.dragonfly_url).await?;
    unlink_all(&plain, format!("*{name}*")).await?;
    plain.quit().await?;
    Ok(())
}

async fn unlink_all(plain: &Fred, pattern: String) -> anyhow::Result<()> {
    let keys: Vec<Value> = command(plain, "KEYS", vec![pattern.into()]).await?.convert()?;
    if !keys.is_empty() {
        command(plain, "UNLINK", keys).await?;
    }
    Ok(())
}

/// A plain client, as its documentation suggests it.
pub(crate) async fn plain(url: &str) -> anyhow::Result<Fred> {
    let client = Builder::from_config(Config::from_url(url)?).build()?;
    client.init().await.context("connect to Dragonfly")?;
    Ok(client)
}

/// Sends one command.
pub(crate) async fn command(client: &impl ClientLike, name: &'static str, args: Vec<Value>) -> anyhow::Result<Value> {
    Ok(client.custom(CustomCommand::new_static(name, None::<u16>, false), args).await?)
}
