//! What the README's examples in other languages are run with.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use serde_json::Value;

use crate::repository;

/// Interpreters and packages, installed for the tests under `.dev`.
#[derive(Debug)]
pub struct Clients {
    /// A Python that has the wheels `redis`, `msgpack` and `psycopg`.
    pub python: PathBuf,
    /// A folder whose `node_modules` has `redis` and `@msgpack/msgpack`; none where there is no Node.js.
    pub node: Option<PathBuf>,
}

static CLIENTS: OnceLock<Clients> = OnceLock::new();

impl Clients {
    /// Installed by `deploy/dev/clients.py`, which finds its own work of an earlier run.
    pub fn get() -> &'static Self {
        CLIENTS.get_or_init(Self::installed)
    }

    fn installed() -> Self {
        let script = repository().join("deploy/dev/clients.py");
        let output = Command::new("python3").arg(&script).current_dir(repository()).output().unwrap();
        assert!(output.status.success(), "clients.py: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let path = |name: &str| found[name].as_str().map(PathBuf::from);
        Self { python: path("python").expect("clients.py names a Python"), node: path("node") }
    }
}
