//! The servers that the tests run against.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Addresses of a Dragonfly-protocol server and a Postgres with pgvector.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `redis://…`
    pub dragonfly_url: String,
    /// `postgres://…`, its user may create databases.
    pub database_url: String,
}

static SERVERS: OnceLock<Servers> = OnceLock::new();

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

impl Servers {
    /// From the environment; brought up by `deploy/dev/servers.py` otherwise, where they stay up for the next run.
    pub fn get() -> &'static Self {
        SERVERS.get_or_init(|| Self::from_environment().unwrap_or_else(Self::brought_up))
    }

    fn from_environment() -> Option<Self> {
        Some(Self { dragonfly_url: variable("TRIPSAGE_DRAGONFLY_URL")?, database_url: variable("TRIPSAGE_DB_URL")? })
    }

    fn brought_up() -> Self {
        let script: PathBuf = repository().join("deploy/dev/servers.py");
        let output =
            Command::new("python3").arg(&script).args(["up", "--json"]).current_dir(repository()).output().unwrap();
        assert!(output.status.success(), "servers.py up: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let json = text.lines().rev().find(|line| line.starts_with('{')).unwrap();
        let urls: serde_json::Value = serde_json::from_str(json).unwrap();
        let url = |name: &str| urls[name].as_str().unwrap().to_owned();
        Self { dragonfly_url: url("TRIPSAGE_DRAGONFLY_URL"), database_url: url("TRIPSAGE_DB_URL") }
    }

    /// A one-node cluster of the same protocol, when the run has one.
    pub fn cluster_url() -> Option<String> {
        variable("TRIPSAGE_TEST_CLUSTER_URL")
    }

    /// Whether files that are made from the code are to be written instead of compared: `UPDATE=1`.
    pub fn update() -> bool {
        variable("UPDATE").is_some()
    }

    /// What any program needs of the environment, and nothing of ours.
    pub fn system_environment() -> Vec<(&'static str, String)> {
        ["PATH", "HOME", "TMPDIR", "LANG"].into_iter().filter_map(|name| Some((name, variable(name)?))).collect()
    }

    /// The folder of a real local embedding model, when the run has one.
    pub fn model_folder() -> Option<PathBuf> {
        variable("TRIPSAGE_TEST_MODEL_DIR").map(PathBuf::from)
    }
}

#[allow(clippy::disallowed_methods, reason = "the harness is told its servers by the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
