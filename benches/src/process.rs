//! A worker process from the outside: started, watched through `/proc`, stopped.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{corner::Corner, worker::Task};

/// Jobs at once for each core where nothing is set: the service's default.
const USUAL_A_CORE: usize = 64;

/// Jobs at once for each core in a drain, as one sets it whose jobs take no time.
const MANY_A_CORE: usize = 256;

/// Jobs at once in a worker whose jobs come one by one.
pub(crate) fn usual() -> usize {
    USUAL_A_CORE * n_cores()
}

/// Jobs at once in a worker that drains.
pub(crate) fn many() -> usize {
    MANY_A_CORE * n_cores()
}

fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A running worker process; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pid: u32,
}

impl Worker {
    /// Starts one and waits until it works.
    pub(crate) async fn start(corner: &Corner, n_partitions: u16, concurrency: usize) -> anyhow::Result<Self> {
        let task = Task {
            name: format!("bench-{}", uuid::Uuid::now_v7().simple()),
            dragonfly_url: corner.dragonfly_url.clone(),
            database_url: corner.database_url.clone(),
            prefix: corner.keys.prefix().to_owned(),
            n_partitions,
            concurrency,
        };
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start a worker process")?;
        let pid = child.id().context("the worker ended at once")?;
        let mut input = child.stdin.take().context("the worker has no input")?;
        input.write_all(format!("{}\n", serde_json::to_string(&task)?).as_bytes()).await?;
        let output = child.stdout.take().context("the worker has no output")?;
        let (mut output, mut said) = (BufReader::new(output), String::new());
        tokio::time::timeout(Duration::from_secs(30), output.read_line(&mut said)).await??;
        if said.trim() != "ready" {
            bail!("the worker did not start; see its log above");
        }
        Ok(Self { child, input, output, pid })
    }

    /// Stops it as on a signal, and waits; gives how long timed jobs waited for their start, microseconds.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Vec<u64>> {
        drop(self.input);
        let mut said = String::new();
        self.output.read_to_string(&mut said).await?;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("a worker process failed: {status}");
        }
        serde_json::from_str(&said).context("read what the worker says at its end")
    }

    /// Its resident memory now, MB.
    pub(crate) fn rss_mb(&self) -> anyhow::Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory it ever had, MB.
    pub(crate) fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("a line of /proc/<pid>/status")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1_024.0 / 1e6)
    }

    /// Processor time it has used, seconds, all its threads; those that ended are forgotten.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let mut nanoseconds = 0.0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let schedstat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let on_cpu = schedstat.split(' ').next().context("a line of schedstat")?;
            nanoseconds += on_cpu.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }
}
