//! The Postgres settings.
//! Never connects; never lets production point at its own machine.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::draft::{Draft, Section};
use super::environment::Environment;
use super::server_url::ServerUrl;
use super::units::seconds;
use super::variable::{Group, Shape, Variable};

/// Settings under `TRIPSAGE_DB_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The Postgres server and database.
    pub url: ServerUrl,
    /// The password, where the URL carries none.
    pub password: Option<SecretString>,
    /// Connections that are kept.
    pub pool_size: u32,
    /// Connections beyond `pool_size` when all are busy.
    pub pool_overflow: u32,
    /// How long a caller waits for a free connection, and then, where there is none, to make one.
    #[serde(rename = "acquire_timeout_seconds", deserialize_with = "seconds")]
    pub acquire_timeout: Duration,
    /// Age at which a connection is replaced.
    #[serde(rename = "recycle_seconds", deserialize_with = "seconds")]
    pub recycle: Duration,
    /// How long one statement may run.
    #[serde(rename = "statement_timeout_seconds", deserialize_with = "seconds")]
    pub statement_timeout: Duration,
    /// Whether vectors are stored by pgvector.
    pub pgvector_enabled: bool,
    /// Length of the stored vectors; none means what the embedding model has.
    pub vector_dimensions: Option<u16>,
    /// Whether a start brings the schema up to date.
    pub auto_migrate: bool,
    /// The Supabase project's address, where Postgres is Supabase.
    pub supabase_url: Option<ServerUrl>,
    /// Supabase's public key.
    pub supabase_anon_key: Option<SecretString>,
    /// Supabase's service key.
    pub supabase_service_role_key: Option<SecretString>,
    /// Supabase's name of the project.
    pub supabase_project_id: Option<String>,
}

/// A Supabase installation, complete with its address.
#[derive(Debug, Clone)]
pub struct Supabase<'a> {
    /// The project's address.
    pub url: &'a ServerUrl,
    /// The public key.
    pub anon_key: Option<&'a SecretString>,
    /// The service key.
    pub service_role_key: Option<&'a SecretString>,
    /// The project's name.
    pub project_id: Option<&'a str>,
}

impl Database {
    /// Most connections that the pool may open: its size and the headroom.
    #[must_use]
    pub fn max_connections(&self) -> u32 {
        self.pool_size + self.pool_overflow
    }

    /// The Supabase installation, when this is one.
    #[must_use]
    pub fn supabase(&self) -> Option<Supabase<'_>> {
        self.supabase_url.as_ref().map(|url| Supabase {
            url,
            anon_key: self.supabase_anon_key.as_ref(),
            service_role_key: self.supabase_service_role_key.as_ref(),
            project_id: self.supabase_project_id.as_deref(),
        })
    }
}

impl Section for Database {
    const GROUP: &'static Group = &Group {
        section: "database",
        prefix: "TRIPSAGE_DB_",
        title: "Postgres",
        variables: &[
            Variable::new("url", Shape::Address(&["postgres", "postgresql"]), "server and database").required(),
            Variable::new(
                "password",
                Shape::Secret,
                "the password, where the URL carries none; any characters, as they are",
            ),
            Variable::new("pool_size", Shape::Integer { min: 1, max: 1000 }, "connections that are kept"),
            Variable::new(
                "pool_overflow",
                Shape::Integer { min: 0, max: 1000 },
                "connections beyond the pool when all are busy",
            ),
            Variable::new(
                "acquire_timeout_seconds",
                Shape::Integer { min: 1, max: 300 },
                "longest wait for a free connection, and again to make one",
            ),
            Variable::new(
                "recycle_seconds",
                Shape::Integer { min: 60, max: 86_400 },
                "age at which a connection is replaced",
            ),
            Variable::new(
                "statement_timeout_seconds",
                Shape::Integer { min: 1, max: 300 },
                "longest run of one statement; over 120 warns",
            )
            .warn_above(120),
            Variable::new("pgvector_enabled", Shape::Flag, "whether vectors are stored by pgvector"),
            Variable::new(
                "vector_dimensions",
                Shape::Integer { min: 32, max: 3072 },
                "length of the stored vectors; equals the embedding's",
            )
            .note("below 512 only with a local model")
            .unset("what the embedding model has"),
            Variable::new("auto_migrate", Shape::Flag, "whether a start brings the schema up to date"),
            Variable::new(
                "supabase_url",
                Shape::Address(&["https", "http"]),
                "the project's address, where Postgres is Supabase",
            ),
            Variable::new("supabase_anon_key", Shape::Secret, "Supabase's public key"),
            Variable::new("supabase_service_role_key", Shape::Secret, "Supabase's service key"),
            Variable::new("supabase_project_id", Shape::Text, "Supabase's name of the project"),
        ],
    };

    fn check(&self, draft: &mut Draft) {
        let url = Self::GROUP.name("url");
        if draft.environment() == Environment::Production && self.url.is_local() {
            draft.problem(
                std::slice::from_ref(&url),
                "points at localhost, which production refuses; name the database server",
            );
        }
        if self.password.as_ref().is_some_and(|password| self.url.contradicts(password)) {
            draft.problem(
                &[url, Self::GROUP.name("password")],
                "contradict: they carry different passwords; keep one of them",
            );
        }
        for (field, key) in [
            ("supabase_anon_key", &self.supabase_anon_key),
            ("supabase_service_role_key", &self.supabase_service_role_key),
        ] {
            if key.is_some() && self.supabase_url.is_none() {
                let names = [Self::GROUP.name(field), Self::GROUP.name("supabase_url")];
                draft.problem(&names, "contradict: a Supabase key needs the address that it is for");
            }
        }
    }
}
