//! All settings of the travel service: the engine's groups and its own.
//! Promise: what loads here can run; every problem is told at once. Never shows a secret.

mod airbnb;
mod external;
mod memory;
#[cfg(test)]
mod tests;

use engine::config::{
    Application, Cache, Database, Draft, Dragonfly, Environment, Group, Loader, Log, Problem, Problems, Row, Section,
    Shown, Worker,
};
use secrecy::ExposeSecret;

pub use self::airbnb::Airbnb;
pub use self::external::External;
pub use self::memory::{Embedder, Memory, VectorStore};

/// The groups that the travel service adds to the engine's.
pub const GROUPS: [&Group; 3] = [Memory::GROUP, External::GROUP, Airbnb::GROUP];

/// Everything that can be set, read once at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The application.
    pub application: Application,
    /// Postgres.
    pub database: Database,
    /// Dragonfly.
    pub dragonfly: Dragonfly,
    /// The cache.
    pub cache: Cache,
    /// How jobs are taken, run and settled.
    pub worker: Worker,
    /// Logs.
    pub log: Log,
    /// Memories and their embeddings.
    pub memory: Memory,
    /// Outside services.
    pub external: External,
    /// The Airbnb MCP server.
    pub airbnb: Airbnb,
    /// What is allowed but doubtful: unknown names, unusual values. For the log.
    pub warnings: Vec<Problem>,
    /// Every setting as anybody may see it.
    pub shown: Vec<Shown>,
}

/// Which keys are configured, yes or no: safe to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "it is a list of yes and no")]
pub struct Configured {
    /// A Dragonfly password, alone or in the URL.
    pub dragonfly_password: bool,
    /// A Postgres password, alone or in the URL.
    pub database_password: bool,
    /// A Supabase service key.
    pub supabase: bool,
    /// An OpenAI key.
    pub openai: bool,
    /// A Duffel key.
    pub duffel: bool,
    /// A Google Maps key.
    pub google_maps: bool,
    /// A Google client, id and secret.
    pub google_client: bool,
    /// An `OpenWeatherMap` key.
    pub openweathermap: bool,
    /// A Visual Crossing key.
    pub visual_crossing: bool,
    /// A Crawl4AI key.
    pub crawl4ai: bool,
}

/// The engine's loader with the travel service's groups; give it the sources, then [`Settings::load`].
#[must_use]
pub fn extend(loader: Loader) -> Loader {
    loader.with(&GROUPS, include_str!("defaults.toml"))
}

/// Every variable with its default, range and meaning.
#[must_use]
pub fn variables() -> Vec<Row> {
    documents().rows()
}

/// The README's table of settings.
#[must_use]
pub fn markdown_table() -> String {
    documents().markdown_table()
}

/// The text of `.env.example`.
#[must_use]
pub fn env_example() -> String {
    documents().env_example()
}

/// Documents do not depend on the machine: its sizes are left out of them.
fn documents() -> Loader {
    extend(Loader::new(engine::config::Hardware { cores: 1, memory_bytes: None }))
}

impl Settings {
    /// Reads the settings from this process: `.env`, its environment, and the file that is named.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_process(file: Option<&std::path::Path>) -> Result<Self, Problems> {
        let loader = Loader::from_process();
        Self::load(match file {
            Some(path) => loader.file(path),
            None => loader,
        })
    }

    /// Reads the settings from the sources of an engine's loader; the travel groups are added here.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(loader: Loader) -> Result<Self, Problems> {
        let mut draft = extend(loader).load();
        let mut settings = Self {
            application: draft.read(),
            database: draft.read(),
            dragonfly: draft.read(),
            cache: draft.read(),
            worker: draft.read(),
            log: draft.read(),
            memory: draft.read(),
            external: draft.read(),
            airbnb: draft.read(),
            warnings: Vec::new(),
            shown: Vec::new(),
        };
        settings.check_vectors(&mut draft);
        settings.check_openai(&mut draft);
        (settings.shown, settings.warnings) = draft.finish()?;
        Ok(settings)
    }

    /// Which keys are configured, for one line of the log.
    #[must_use]
    pub fn configured(&self) -> Configured {
        let external = &self.external;
        Configured {
            dragonfly_password: self.dragonfly.password.is_some() || self.dragonfly.url.has_password(),
            database_password: self.database.password.is_some() || self.database.url.has_password(),
            supabase: self.database.supabase_service_role_key.is_some(),
            openai: external.openai_api_key.is_some(),
            duffel: external.duffel_api_key.is_some(),
            google_maps: external.google_maps_api_key.is_some(),
            google_client: external.google_client_id.is_some() && external.google_client_secret.is_some(),
            openweathermap: external.openweathermap_api_key.is_some(),
            visual_crossing: external.visual_crossing_api_key.is_some(),
            crawl4ai: external.crawl4ai_api_key.is_some(),
        }
    }

    fn check_vectors(&self, draft: &mut Draft) {
        let stored = Database::GROUP.name("vector_dimensions");
        let embedded = Memory::GROUP.name("embedding_dimensions");
        let lengths = [(&stored, self.database.vector_dimensions), (&embedded, self.memory.embedding_dimensions)];
        for (name, length) in lengths {
            let Some(length) = length else { continue };
            if self.memory.embedder == Embedder::OpenAi && length < memory::OPENAI_MIN_DIMENSIONS {
                let embedder = Memory::GROUP.name("embedder");
                draft.problem(
                    std::slice::from_ref(name),
                    format!(
                        "`{length}` is out of range; allowed: {}..3072, or from 32 when {embedder} is local",
                        memory::OPENAI_MIN_DIMENSIONS
                    ),
                );
            }
        }
        if let (Some(in_table), Some(of_model)) = (self.database.vector_dimensions, self.memory.known_dimensions())
            && in_table != of_model
        {
            let text =
                format!("contradict: {in_table} is not {of_model}; leave both unset to follow the embedding model");
            draft.problem(&[stored, embedded], text);
        }
        if !self.database.pgvector_enabled && self.memory.vector_store_type == VectorStore::Pgvector {
            let names = [Database::GROUP.name("pgvector_enabled"), Memory::GROUP.name("vector_store_type")];
            draft.problem(&names, "contradict: memories are kept by pgvector, so it has to be enabled");
        }
    }

    fn check_openai(&self, draft: &mut Draft) {
        let key = self.external.openai_api_key.as_ref().is_some_and(|key| !key.expose_secret().is_empty());
        let production = draft.environment() == Environment::Production;
        if production && self.memory.embedder == Embedder::OpenAi && !key {
            let embedder = Memory::GROUP.name("embedder");
            draft.problem(
                &[External::GROUP.name("openai_api_key")],
                format!("is missing in production, where {embedder} is openai; set it, or choose the local embedder"),
            );
        }
    }
}
