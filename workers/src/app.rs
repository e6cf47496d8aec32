//! From settings to connections: what every verb of the command line needs.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use engine::{
    broker::{Address, BrokerError, Connection, Scope},
    cache::{Cache, CacheOptions},
    client::{Client, ClientOptions, Guarantees},
    clock::ServerClock,
    completion::Format,
    config::{CompletionFormat, Dragonfly},
    engine::Options,
    job::QueueName,
    keys::Keys,
    operator::Operator,
    queue::Queue,
    retry_budget::RetryLimits,
    store::{Database, OLDEST_VECTOR, Store},
};
use secrecy::ExposeSecret;

use crate::{
    context::Context,
    embedders::{Embedder, LocalEmbedder, OpenAiConfig, OpenAiEmbedder},
    kinds,
    memory::MemoryOptions,
    search::places::PlacesState,
    settings::{self, Settings},
};

/// The settings, and what follows from them.
pub struct App {
    /// Every setting.
    pub settings: Settings,
}

/// The most inputs one call to an embeddings API carries; its own limit is 2048.
const EMBED_INPUTS: usize = 512;
/// The most calls to an embeddings API at once.
const EMBED_CALLS: usize = 4;

impl App {
    /// Where Dragonfly is.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn address(&self) -> anyhow::Result<Address> {
        let Dragonfly { url, password, .. } = &self.settings.dragonfly;
        let password = password.as_ref().map(ExposeSecret::expose_secret);
        Address::parse(url.expose(), password).context("TRIPSAGE_DRAGONFLY_URL")
    }

    /// What every key begins with.
    pub fn keys(&self) -> Keys {
        Keys::new(self.settings.dragonfly.key_prefix.clone())
    }

    /// What it takes to connect to Postgres.
    pub fn connector(&self) -> Connector {
        let database = &self.settings.database;
        let options = Database {
            url: database.url.expose().to_owned().into(),
            password: database.password.clone().filter(|_| !database.url.has_password()),
            max_connections: database.max_connections(),
            acquire_timeout: database.acquire_timeout,
            recycle: database.recycle,
            statement_timeout: database.statement_timeout,
        };
        Connector { options, shown: database.url.to_string() }
    }

    /// Connects to Postgres.
    ///
    /// # Errors
    /// Where it is and why it cannot be reached; that it, or its pgvector, is too old.
    pub async fn store(&self) -> anyhow::Result<Store> {
        self.connector().connect().await
    }

    /// Connects to Dragonfly for submitting and subscribing.
    ///
    /// # Errors
    /// Where it is and why it cannot be reached.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let options = self.client_options()?;
        let shown = options.address.shown().to_owned();
        Client::connect(options).await.with_context(|| format!("reach Dragonfly at {shown} (TRIPSAGE_DRAGONFLY_URL)"))
    }

    /// Connects to both servers for what an operator does.
    ///
    /// # Errors
    /// Which server cannot be reached, and why.
    pub async fn operator(&self) -> anyhow::Result<Operator> {
        let (client, store) = (self.client().await?, self.store().await?);
        Ok(Operator::new(&client, store, self.format()).await?)
    }

    /// How completions are written.
    fn format(&self) -> Format {
        match self.settings.worker.completion_format {
            CompletionFormat::Msgpack => Format::MsgPack,
            CompletionFormat::Json => Format::Json,
        }
    }

    /// Where and how jobs are submitted.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn client_options(&self) -> anyhow::Result<ClientOptions> {
        let Dragonfly { min_replicas, wait, .. } = self.settings.dragonfly;
        let durability = self.settings.worker.durability;
        let guarantees = Guarantees { durability, min_replicas, replicas_within: wait };
        Ok(ClientOptions { guarantees, ..ClientOptions::new(self.address()?, self.keys()) })
    }

    /// Connects for submitting: to Dragonfly, and to Postgres for the jobs of journaled queues. Where Postgres cannot be
    /// reached, other queues are served all the same.
    ///
    /// # Errors
    /// Where Dragonfly is and why it cannot be reached.
    pub async fn submitter(&self) -> anyhow::Result<Client> {
        let client = self.client().await?;
        match self.store().await {
            Ok(store) => Ok(client.with_journal(store)),
            Err(error) => {
                tracing::warn!(
                    error = crate::commands::told(&error),
                    "no Postgres: only queues that are not journaled are served"
                );
                Ok(client)
            }
        }
    }

    /// What turns texts into vectors, as the settings choose.
    ///
    /// # Errors
    /// Why the model cannot be loaded or the client not be made; that its vectors have another length than the settings say.
    pub fn embedder(&self) -> anyhow::Result<Embedder> {
        let embedder = match self.settings.memory.embedder {
            settings::Embedder::Local => Embedder::Local(self.local_embedder()?),
            settings::Embedder::OpenAi => Embedder::OpenAi(OpenAiEmbedder::new(self.openai())?),
        };
        let (in_table, of_model) = (self.settings.database.vector_dimensions.map(usize::from), embedder.dimensions());
        if let Some(in_table) = in_table.filter(|in_table| *in_table != of_model) {
            bail!(
                "TRIPSAGE_DB_VECTOR_DIMENSIONS is {in_table}, the vectors of {} have {of_model}; leave it unset to follow the model, \
                 or choose another model",
                embedder.model()
            );
        }
        Ok(embedder)
    }

    fn local_embedder(&self) -> anyhow::Result<LocalEmbedder> {
        let memory = &self.settings.memory;
        let folder = &memory.local_model_path;
        LocalEmbedder::load(folder, memory.embedding_dimensions.map(usize::from)).with_context(|| {
            format!(
                "TRIPSAGE_MEM0_EMBEDDER is local, TRIPSAGE_MEM0_LOCAL_MODEL_PATH is {} (`make model` fetches a model into \
                 .dev/models/wordllama-256; with Docker compose set MODEL_FOLDER to it)",
                folder.display()
            )
        })
    }

    /// Whether the chosen embedder is OpenAI's own service and no key is configured for it.
    pub fn lacks_key(&self) -> bool {
        self.settings.memory.embedder == settings::Embedder::OpenAi && self.openai().lacks_key()
    }

    fn openai(&self) -> OpenAiConfig {
        let (external, memory) = (&self.settings.external, &self.settings.memory);
        OpenAiConfig {
            base_url: external.openai_base_url.url().clone(),
            api_key: external.openai_api_key.clone(),
            organization: external.openai_organization.clone(),
            model: memory.embedding_model.clone(),
            dimensions: usize::from(memory.api_dimensions()),
            send_dimensions: memory.asks_for_dimensions(),
            timeout: external.default_timeout,
            max_retries: external.max_retries,
            max_batch_inputs: EMBED_INPUTS,
            max_parallel: EMBED_CALLS,
        }
    }

    /// How a worker works; `only` names the queues, none meaning all.
    ///
    /// # Errors
    /// A queue that no kind waits in.
    pub fn options(&self, only: &[String]) -> anyhow::Result<Options> {
        let worker = &self.settings.worker;
        let queues = self.queues(if only.is_empty() { &worker.queues } else { only })?;
        self.check_connections(&queues)?;
        Ok(Options {
            worker: worker_name(),
            address: self.pooled()?,
            keys: self.keys(),
            queues,
            server_threads: self.settings.dragonfly.thread_count,
            lease: worker.lease,
            drain: worker.drain,
            max_crashes: worker.max_crashes,
            max_payload_bytes: worker.max_payload_bytes,
            inline_result_bytes: worker.inline_result_bytes,
            completion_format: self.format(),
            scope: Scope::Global,
            completion_retention: worker.completion_retention,
            settle_batch: worker.settle_batch,
            dead_retention: (worker.dead_retention_days > 0)
                .then(|| std::time::Duration::from_secs(u64::from(worker.dead_retention_days) * 86_400)),
            retry_limits: RetryLimits { ratio: worker.retry_budget_ratio, per_second: worker.retry_budget_per_second },
        })
    }

    /// Where Dragonfly is, reached by as many connections as the settings say.
    fn pooled(&self) -> anyhow::Result<Address> {
        Ok(self.address()?.with_pool(usize::try_from(self.settings.dragonfly.pool_size)?))
    }

    /// A worker has two connections a partition, a pool for itself, one for its cache, and one that listens.
    fn check_connections(&self, queues: &[Queue]) -> anyhow::Result<()> {
        let Dragonfly { max_connections, pool_size, .. } = &self.settings.dragonfly;
        let n_partitions: u32 = queues.iter().map(|queue| u32::from(queue.n_partitions)).sum();
        let needed = 2 * n_partitions + 2 * pool_size + 1;
        if needed > *max_connections {
            bail!(
                "this worker needs {needed} connections to Dragonfly (2 for each of {n_partitions} partitions, 2 pools of {pool_size}, 1 that listens), \
                 TRIPSAGE_DRAGONFLY_MAX_CONNECTIONS allows {max_connections}; allow more, or lower TRIPSAGE_WORKER_PARTITIONS, TRIPSAGE_WORKER_QUEUES or TRIPSAGE_DRAGONFLY_POOL_SIZE"
            );
        }
        Ok(())
    }

    fn queues(&self, only: &[String]) -> anyhow::Result<Vec<Queue>> {
        let all = kinds::registry().queues();
        if let Some(unknown) = only.iter().find(|name| !all.iter().any(|queue| queue.as_str() == name.as_str())) {
            let names: Vec<&str> = all.iter().map(QueueName::as_str).collect();
            bail!("no queue `{unknown}`; there are: {}", names.join(", "));
        }
        let worker = &self.settings.worker;
        let n_partitions = worker.partitions(&self.settings.dragonfly);
        let chosen = all.into_iter().filter(|queue| only.is_empty() || only.iter().any(|name| name == queue.as_str()));
        Ok(chosen.map(|name| Queue { name, concurrency: worker.concurrency as usize, n_partitions }).collect())
    }

    /// What jobs need to run.
    ///
    /// # Errors
    /// Why the cache cannot be reached.
    pub async fn context(&self, store: &Store, embedder: Embedder) -> anyhow::Result<Arc<Context>> {
        let (store, memory, cache) = (store.clone(), self.memory(embedder.dimensions()), self.cache().await?);
        Ok(Arc::new(Context { store, embedder, memory, cache, places: PlacesState::default() }))
    }

    /// How memories are kept and found.
    fn memory(&self, dimensions: usize) -> MemoryOptions {
        let memory = &self.settings.memory;
        MemoryOptions {
            dimensions,
            max_memories_per_user: memory.max_memories_per_user,
            similarity_threshold: memory.similarity_threshold,
            max_search_results: memory.max_search_results,
        }
    }

    /// The cache, over a connection of its own.
    ///
    /// # Errors
    /// Where Dragonfly is and why it cannot be reached.
    pub async fn cache(&self) -> anyhow::Result<Cache> {
        if !self.settings.cache.enabled {
            return Ok(Cache::off());
        }
        let address = self.pooled()?;
        let reached = async {
            let connection = Connection::open(&address).await?;
            let clock = ServerClock::new();
            clock.heard(connection.now_ms().await?);
            Ok::<_, BrokerError>(Cache::new(&connection, self.keys(), Arc::new(clock), &CacheOptions::default()))
        };
        reached.await.with_context(|| format!("reach Dragonfly at {} (TRIPSAGE_DRAGONFLY_URL)", address.shown()))
    }
}

/// What it takes to connect to Postgres; owns all of it, so that it can go into a task.
pub struct Connector {
    options: Database,
    shown: String,
}

impl Connector {
    /// Connects, and looks whether pgvector is there and new enough.
    ///
    /// # Errors
    /// Where the server is and why it cannot be used.
    pub async fn connect(&self) -> anyhow::Result<Store> {
        let shown = &self.shown;
        let store = Store::connect(&self.options).await;
        let store = store.with_context(|| format!("reach Postgres at {shown} (TRIPSAGE_DB_URL)"))?;
        let versions = store.versions().await.context("ask Postgres for its version")?;
        if versions.vector_is_new_enough() {
            return Ok(store);
        }
        let (major, minor, patch) = OLDEST_VECTOR;
        let vector = versions.vector.as_deref();
        let found = vector.map_or("has no pgvector".to_owned(), |version| format!("has pgvector {version}"));
        bail!(
            "Postgres {} at {shown} {found}; expected pgvector {major}.{minor}.{patch} or later: \
             install it, then `alter extension vector update`",
            versions.server
        )
    }
}

/// A name that no other worker has, which says where to look for it: machine, process, chance.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{}-{}-{:04x}", if host.is_empty() { "worker" } else { &host }, std::process::id(), fastrand::u16(..))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use engine::config::{Hardware, Loader};

    /// A worker for one queue of two partitions, with pools of three.
    fn allowed(max_connections: &str) -> anyhow::Result<Options> {
        let settings = [
            ("TRIPSAGE_DRAGONFLY_URL", "redis://127.0.0.1:1/0"),
            ("TRIPSAGE_DB_URL", "postgres://trips@127.0.0.1:1/trips"),
            ("TRIPSAGE_DRAGONFLY_MAX_CONNECTIONS", max_connections),
            ("TRIPSAGE_DRAGONFLY_POOL_SIZE", "3"),
            ("TRIPSAGE_WORKER_PARTITIONS", "2"),
        ];
        let loader = Loader::new(Hardware { cores: 4, memory_bytes: None }).environment(settings);
        App { settings: Settings::load(loader).unwrap() }.options(&["diagnostics".to_owned()])
    }

    #[test]
    fn a_worker_that_needs_more_connections_than_are_allowed_says_how_many_and_does_not_start() {
        assert_eq!(allowed("11").unwrap().queues.len(), 1, "2 for each of 2 partitions, 2 pools of 3, 1 that listens");
        let refusal = allowed("10").map(drop).expect_err("one too few").to_string();
        for told in ["needs 11 connections", "CONNECTIONS allows 10", "TRIPSAGE_WORKER_PARTITIONS"] {
            assert!(refusal.contains(told), "`{told}` is not in: {refusal}");
        }
    }
}
