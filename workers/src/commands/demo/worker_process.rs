//! One worker of the demonstration: a process of its own, started, watched, killed or stopped.
//!
//! Promise: it is ready for jobs when [`WorkerProcess::start`] gives it, and it never outlives the demonstration.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::scrape::Metrics;
use crate::app::App;

/// How long a worker may take until it is ready for jobs.
const START: Duration = Duration::from_secs(60);
/// How long a worker may take to leave, its own drain deadline included.
const STOP: Duration = Duration::from_secs(40);
/// How often it is looked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);

/// A worker that runs.
pub(super) struct WorkerProcess {
    /// Its name in the fleet: the consumer in every group.
    pub(super) name: String,
    /// Where its log is.
    pub(super) log: PathBuf,
    /// Memory when it had nothing to do yet, bytes.
    pub(super) idle_bytes: u64,
    child: Child,
    port: u16,
}

impl WorkerProcess {
    /// Starts the same binary as a worker with keys under `prefix`, and waits until it is ready.
    ///
    /// # Errors
    /// Why it did not become ready: the last lines of its log.
    pub(super) async fn start(app: &App, prefix: &str, log: PathBuf) -> anyhow::Result<Self> {
        let mut child = spawn(app, prefix, &log)?;
        let ready = tokio::time::timeout(START, until_ready(&mut child, &log)).await;
        let (name, port) =
            ready.with_context(|| format!("the worker is not ready after {START:?}{}", tail(&log)))??;
        let mut worker = Self { name, log, idle_bytes: 0, child, port };
        worker.idle_bytes = worker.memory()?.0;
        Ok(worker)
    }

    /// Memory now and at its peak, bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let pid = self.child.id().context("the worker has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read the worker's memory")?;
        Ok((kib(&status, "VmRSS:") * 1024, kib(&status, "VmHWM:") * 1024))
    }

    /// What its `/metrics` say.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn metrics(&self) -> anyhow::Result<Metrics> {
        Metrics::scrape(self.port).await.with_context(|| format!("scrape worker {}", self.name))
    }

    /// SIGKILL: no goodbye, nothing is handed back.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.start_kill().context("kill the worker")
    }

    /// Waits for the end of a worker that was killed.
    ///
    /// # Errors
    /// When the system cannot say.
    pub(super) async fn buried(mut self) -> anyhow::Result<()> {
        self.child.wait().await.map(drop).context("wait for the killed worker's end")
    }

    /// SIGTERM, then patience; gives whether it ended well. SIGKILL when the patience ends.
    pub(super) async fn stop(mut self) -> bool {
        if let Some(pid) = self.child.id() {
            // The shell's own `kill` is there wherever a shell is, and needs no unsafe call of ours.
            let signal = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).stderr(Stdio::null()).status();
            drop(signal.await); // a worker that cannot be told is killed below
        }
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(ended) => ended.is_ok_and(|status| status.success()),
            Err(_) => {
                drop(self.child.kill().await); // it has ended in between, or ends now
                false
            }
        }
    }
}

fn spawn(app: &App, prefix: &str, log: &Path) -> anyhow::Result<Child> {
    let file = File::create(log).with_context(|| format!("write the worker's log {}", log.display()))?;
    let program = std::env::current_exe().context("find the program itself")?;
    let mut command = Command::new(program);
    if let Some(config) = &app.settings.application.config_file {
        command.arg("--config").arg(config);
    }
    command.args(["worker", "--port", "0"]);
    let settings = [
        ("TRIPSAGE_DRAGONFLY_KEY_PREFIX", prefix),
        ("TRIPSAGE_LOG_FORMAT", "json"),
        ("TRIPSAGE_LOG_LEVEL", "info"),
        ("TRIPSAGE_WORKER_QUEUES", ""),
        // The demonstration has brought the schema up to date before.
        ("TRIPSAGE_DB_AUTO_MIGRATE", "false"),
    ];
    command.envs(settings).env_remove("TRIPSAGE_LOG_FILE");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).kill_on_drop(true);
    command.spawn().context("start a worker")
}

/// The name and port that the worker logs once it is ready.
async fn until_ready(child: &mut Child, log: &Path) -> anyhow::Result<(String, u16)> {
    loop {
        if let Some(ready) = std::fs::read_to_string(log).unwrap_or_default().lines().find_map(read_ready) {
            return Ok(ready);
        }
        if let Some(status) = child.try_wait()? {
            bail!("the worker ended before it was ready ({status}){}", tail(log));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn read_ready(line: &str) -> Option<(String, u16)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    if fields.get("message")?.as_str()? != "ready for jobs" {
        return None;
    }
    Some((fields.get("worker")?.as_str()?.to_owned(), u16::try_from(fields.get("port")?.as_u64()?).ok()?))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    let lines: String = lines.iter().rev().map(|line| format!("\n    {line}")).collect();
    format!("; the end of {}:{lines}", log.display())
}

fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_ready_gives_name_and_port() {
        let line = r#"{"level":"INFO","fields":{"message":"ready for jobs","worker":"host-1-ab","port":4711}}"#;
        assert_eq!(read_ready(line), Some(("host-1-ab".to_owned(), 4711)));
        assert_eq!(read_ready(r#"{"fields":{"message":"something else"}}"#), None);
        assert_eq!(read_ready("no JSON"), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(kib("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n", "VmRSS:"), 1024);
    }
}
