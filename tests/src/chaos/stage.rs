//! What one run of a scenario has for itself: servers, a database, worker processes, a producer, a witness.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use chrono::{DateTime, Utc};
use engine::{
    broker::{Address, Connection, sampling},
    client::{Client, ClientOptions, Guarantees, Submission},
    keys::Keys,
    partition::{Tag, tags},
    policy::Durability,
};
use tokio::time::Instant;

use super::{
    cluster::Cluster,
    database::{Database, Home},
    fleet::Fleet,
    kinds::{CHAOS, Effect},
    load::{Answers, Load, Make, submit},
    witness::Witness,
    worker_process::Spec,
};
use crate::{
    Proxy, RedisServer, authority,
    fixture::{connected, database, rustls_provider},
    patience,
};

/// How large and how long a scenario is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Jobs a second.
    pub(super) rate: u64,
    /// How long each takes.
    pub(super) sleep_ms: u64,
    /// How long the load goes on after the fault.
    pub(super) tail: Duration,
    /// When a silent worker counts as dead.
    pub(super) lease: Duration,
    /// How long an outage lasts.
    pub(super) outage: Duration,
    /// What is added to every limit on time: the short form runs beside other tests.
    pub(super) patience: Duration,
}

impl Size {
    /// The service's own lease, and outages of half a minute.
    pub(super) const FULL: Self = Self {
        rate: 150,
        sleep_ms: 50,
        tail: Duration::from_secs(5),
        lease: Duration::from_secs(5),
        outage: Duration::from_secs(30),
        patience: Duration::ZERO,
    };
    /// For every run of the tests.
    pub(super) const SHORT: Self = Self {
        rate: 60,
        sleep_ms: 100,
        tail: Duration::from_secs(1),
        lease: Duration::from_secs(2),
        outage: Duration::from_secs(3),
        patience: Duration::from_secs(10),
    };
}

/// The stage.
pub(super) struct Stage {
    pub(super) size: Size,
    pub(super) durability: Durability,
    pub(super) folder: PathBuf,
    pub(super) broker: RedisServer,
    /// Where "accepted" means that it has the job too.
    pub(super) replica: Option<RedisServer>,
    pub(super) cluster: Option<Cluster>,
    /// The small disk that the tables are on, where there is one.
    pub(super) disk: Option<PathBuf>,
    pub(super) database: Database,
    pub(super) fleet: Fleet,
    /// The producer's line to Dragonfly.
    pub(super) producer: Proxy,
    /// The harness' own line to Dragonfly, which no scenario disturbs.
    own: Proxy,
    pub(super) client: Arc<Client>,
    pub(super) answers: Arc<Answers>,
    pub(super) witness: Witness,
    pub(super) keys: Keys,
    pub(super) tags: Vec<Tag>,
    direct: Connection,
}

const LOOK: Duration = Duration::from_millis(20);

impl Stage {
    /// Everything but the workers is up.
    pub(super) async fn set(size: Size, durability: Durability, home: Home, folder: &Path) -> anyhow::Result<Self> {
        let _ = rustls_provider(); // whoever comes second finds it installed
        let mut cluster = if home == Home::Shared { None } else { Some(Cluster::start(folder).await?) };
        let disk = match &mut cluster {
            Some(cluster) if home == Home::SmallDisk => cluster.mount_disk()?,
            _ => None,
        };
        let database = Database::make(cluster.as_ref(), disk.as_deref()).await?;
        database.promise(durability).await?;
        let broker = RedisServer::for_faults().await;
        let keys = Keys::new("chaos:".to_owned());
        let replica = if durability == Durability::Replicated { Some(replica_of(&broker).await) } else { None };
        let own = Proxy::before(authority(&broker.url())).await;
        let address = Address::parse(&own.url(&broker.url()), None)?;
        let producer = Proxy::before(authority(&broker.url())).await;
        let client = client(&producer.url(&broker.url()), &keys, (durability, &database)).await?;
        let witness = Witness::start(&address, &keys).await?;
        let spec = spec(&size, (&broker, &database, &keys), folder);
        Ok(Self {
            size,
            durability,
            folder: folder.to_owned(),
            cluster,
            disk,
            fleet: Fleet::new(spec, folder),
            producer,
            own,
            client: Arc::new(client),
            answers: Arc::default(),
            witness,
            tags: tags(&CHAOS, 2, 2),
            direct: Connection::open(&address).await?,
            keys,
            broker,
            replica,
            database,
        })
    }

    /// The server is gone; its replica, if there is one, takes its place, and everyone finds it where the other was.
    pub(super) async fn fail_over(&mut self) -> bool {
        let Some(replica) = self.replica.take() else { return false };
        replica.promote().await;
        let lines = self.fleet.members.iter().map(|member| &member.broker).chain([&self.producer, &self.own]);
        lines.for_each(|line| line.lead_to(authority(&replica.url())));
        self.fleet.spec.dragonfly_url = replica.url();
        self.broker = replica;
        true
    }

    /// Where jobs are replicated, the server gets a new replica.
    pub(super) async fn follow_again(&mut self) {
        if self.durability == Durability::Replicated {
            self.replica = Some(replica_of(&self.broker).await);
        }
    }

    /// The usual job.
    pub(super) fn effect(&self) -> Submission {
        Submission::job(&Effect { sleep_ms: self.size.sleep_ms, ..Effect::default() }).unwrap()
    }

    /// Begins the usual load.
    pub(super) fn load(&self) -> Load {
        let job = Effect { sleep_ms: self.size.sleep_ms, ..Effect::default() };
        self.load_of(self.size.rate, Box::new(move |_| Submission::job(&job).unwrap()))
    }

    /// Begins a load.
    pub(super) fn load_of(&self, per_second: u64, make: Make) -> Load {
        Load::begin(Arc::clone(&self.client), Arc::clone(&self.answers), per_second, make)
    }

    /// Submits these jobs; they are accepted when it returns.
    pub(super) async fn submit(&self, jobs: Vec<Submission>) {
        submit(Arc::clone(&self.client), Arc::clone(&self.answers), jobs).await;
    }

    /// Waits until this many more jobs are done: the load is under way.
    pub(super) async fn until_done(&self, n_more: i64) -> anyhow::Result<()> {
        let wanted = self.database.n_done().await? + n_more;
        self.until("jobs to be done", async || Ok(self.database.n_done().await? >= wanted)).await
    }

    /// Waits until something is true, for a minute at most, or longer on a machine that is slow.
    pub(super) async fn until(&self, what: &str, ask: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let (begun, limit) = (Instant::now(), patience());
        while !ask().await? {
            if begun.elapsed() > limit {
                bail!("waited {limit:?} for {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends the load a little after the fault; everything has its answer then.
    pub(super) async fn finish(&self, load: Load) -> anyhow::Result<()> {
        self.pass(self.size.tail).await;
        load.end().await
    }

    /// Lets time pass: how long a fault or a load lasts is what a scenario is about.
    pub(super) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until nothing is left to settle, workers that died being replaced; false when a minute was not enough, or more on a machine
    /// that is slow.
    pub(super) async fn rest(&mut self) -> anyhow::Result<bool> {
        let (begun, limit) = (Instant::now(), patience());
        loop {
            self.fleet.tend().await?;
            if self.unsettled().await == Some(0) {
                return Ok(true);
            }
            if begun.elapsed() > limit {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many jobs are ready, delayed, in flight or in the journal; none while a server cannot say.
    pub(super) async fn unsettled(&self) -> Option<u64> {
        let mut unsettled = u64::try_from(self.database.n_journaled().await.ok()?).ok()?;
        for tag in &self.tags {
            unsettled += sampling::depths(&self.direct, &self.keys.partition(tag)).await.ok()?.unsettled();
        }
        Some(unsettled)
    }
}

async fn replica_of(broker: &RedisServer) -> RedisServer {
    let replica = RedisServer::for_faults().await;
    replica.follow(broker).await;
    replica
}

/// The producer's client; it knows how safe the scenario's queue is before a worker has told the fleet.
async fn client(url: &str, keys: &Keys, (durability, at): (Durability, &Database)) -> anyhow::Result<Client> {
    let guarantees = Guarantees { durability, ..Guarantees::default() };
    let options = ClientOptions { guarantees, ..ClientOptions::new(Address::parse(url, None)?, keys.clone()) };
    let client = Client::connect(options).await?;
    if durability != Durability::Journaled {
        return Ok(client);
    }
    Ok(client.with_journal(connected(&database(&at.url)).await?))
}

fn spec(size: &Size, (broker, database, keys): (&RedisServer, &Database, &Keys), folder: &Path) -> Spec {
    Spec {
        name: String::new(),
        dragonfly_url: broker.url(),
        database_url: database.url.clone(),
        prefix: keys.prefix().to_owned(),
        lease: size.lease,
        drain: Duration::from_secs(30),
        concurrency: 64,
        statement_timeout: Duration::from_secs(60),
        version: 1,
        begun: folder.join("begun.log"),
    }
}

/// Now, as Postgres on this machine sees it.
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}
