//! The binary `tripsage` as a user runs it: another process, its settings in its environment.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::{
    Fixture, Servers, repository,
    wait::{COMMAND, patience},
};

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Whether it exited with 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        assert!(self.success, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The binary, built beside the test.
pub fn binary() -> PathBuf {
    sibling("tripsage")
}

/// A program of the workspace, built beside this one or, when this is a test, one folder above it.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    beside.unwrap_or_else(|| {
        let folder = this.parent().and_then(Path::parent).unwrap();
        panic!(
            "{} is missing in {}: run `cargo build --workspace`, or everything with `make test`",
            name,
            folder.display()
        )
    })
}

/// A command with nothing of ours in its environment, in a folder without a `.env`.
pub fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command.envs(Servers::system_environment());
    command
}

/// Runs a command to its end; one that hangs fails its test instead of stopping all of them.
pub async fn said(command: &mut Command) -> Said {
    let ended = COMMAND.time(command.output()).await;
    let output = ended.unwrap_or_else(|limit| panic!("still running after {limit:?}: {:?}", command.as_std())).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Fixture {
    /// `tripsage` with this fixture's servers, database and prefix.
    pub fn tripsage(&self, words: &[&str]) -> Command {
        let mut command = bare(binary());
        command.args(words).env("TRIPSAGE_ENVIRONMENT", "testing");
        command.env("TRIPSAGE_DB_URL", &self.database_url).env("TRIPSAGE_DRAGONFLY_URL", &self.dragonfly_url);
        command.env("TRIPSAGE_DRAGONFLY_KEY_PREFIX", self.keys.prefix());
        command
    }

    /// Runs `tripsage` to its end.
    pub async fn run(&self, words: &[&str]) -> Said {
        said(&mut self.tripsage(words)).await
    }
}

/// `tripsage worker`, running.
pub struct WorkerProcess {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// Where it answers /metrics and /health.
    pub port: u16,
    /// What it logged until it was ready.
    pub beginning: Vec<String>,
}

impl WorkerProcess {
    /// Starts one; gives it when it is ready for jobs.
    pub async fn start(fixture: &Fixture, settings: &[(&str, &str)]) -> Self {
        let mut command = fixture.tripsage(&["worker", "--port", "0"]);
        command.env("TRIPSAGE_LOG_FORMAT", "json").env("TRIPSAGE_LOG_LEVEL", "info");
        command.envs(settings.iter().copied()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (port, beginning) = until_ready(&mut log).await;
        Self { child, log, port, beginning }
    }

    /// Its log from here up to a line that says this.
    pub async fn log_until(&mut self, needle: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let reading = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                lines.push(line);
                if lines.last().is_some_and(|line| line.contains(needle)) {
                    return;
                }
            }
        };
        let found = tokio::time::timeout(patience(), reading).await;
        assert!(found.is_ok() && lines.last().is_some_and(|line| line.contains(needle)), "no `{needle}`: {lines:#?}");
        lines
    }

    /// What it answers at this path: whether with 200, and the body.
    pub async fn ask(&self, path: &str) -> (bool, Value) {
        let answer = reqwest::get(format!("http://127.0.0.1:{}{path}", self.port)).await.unwrap();
        (answer.status().is_success(), answer.json().await.unwrap())
    }

    /// Stops it with SIGTERM, as an operator does; whether it ended well, and the rest of its log.
    pub async fn stop(mut self) -> (bool, Vec<String>) {
        let pid = self.child.id().unwrap().to_string();
        assert!(said(bare("kill").args(["-TERM", &pid])).await.success);
        let mut rest = Vec::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            rest.push(line);
        }
        (self.child.wait().await.unwrap().success(), rest)
    }
}

async fn until_ready(log: &mut Lines<BufReader<ChildStderr>>) -> (u16, Vec<String>) {
    let mut lines = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(port) = event.pointer("/fields/port").or_else(|| event.get("port")).and_then(Value::as_u64) {
            return (u16::try_from(port).unwrap(), lines);
        }
        lines.push(line);
    }
    panic!("the worker ended before it was ready:\n{}", lines.join("\n"));
}

/// A file of the repository, as text.
pub fn file(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
