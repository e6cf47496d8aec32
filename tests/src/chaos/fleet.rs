//! The worker processes of one scenario, each behind network lines of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use super::worker_process::Spec;
use crate::{Proxy, authority, bare, binary::sibling, eventually, patience, said};

/// One worker process.
pub(super) struct Member {
    /// Its name: its consumer in every group.
    pub(super) name: String,
    /// Its line to Dragonfly.
    pub(super) broker: Proxy,
    /// Its line to Postgres.
    pub(super) postgres: Proxy,
    /// Where it answers /health and /metrics.
    pub(super) port: u16,
    child: Child,
    /// A worker that was told to stop is not replaced.
    leaving: bool,
}

/// How one worker differs from the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Oddity {
    /// The version of the kinds that it knows; 1 when none is said.
    pub(super) version: Option<u32>,
    /// A library loaded before all others, and how many seconds its clock is off.
    pub(super) clock: Option<(PathBuf, i64)>,
}

/// All of them.
pub(super) struct Fleet {
    /// What every worker is told; names and lines are put in for each.
    pub(super) spec: Spec,
    /// Those that were started and have not been seen to end.
    pub(super) members: Vec<Member>,
    folder: PathBuf,
    n_started: usize,
}

impl Fleet {
    pub(super) fn new(spec: Spec, folder: &Path) -> Self {
        Self { spec, members: Vec::new(), folder: folder.to_owned(), n_started: 0 }
    }

    /// Starts `n` workers at once; they are ready when it returns.
    pub(super) async fn start(&mut self, n: usize) -> anyhow::Result<()> {
        self.start_odd(vec![Oddity::default(); n]).await
    }

    /// Starts one worker for each oddity, all at once.
    pub(super) async fn start_odd(&mut self, oddities: Vec<Oddity>) -> anyhow::Result<()> {
        let first = self.n_started;
        self.n_started += oddities.len();
        let starting = oddities
            .into_iter()
            .enumerate()
            .map(|(n, oddity)| begin(self.spec.clone(), format!("worker-{}", first + n + 1), oddity, &self.folder));
        let started = futures::future::try_join_all(starting).await?;
        self.members.extend(started);
        Ok(())
    }

    /// Sends a signal to a worker.
    pub(super) async fn signal(&mut self, place: usize, signal: &str) -> anyhow::Result<()> {
        let member = &mut self.members[place];
        member.leaving |= signal == "-TERM";
        let pid = member.child.id().context("the worker has ended already")?;
        let sent = said(bare("kill").args([signal, &pid.to_string()])).await;
        if !sent.success {
            bail!("kill {signal} {}: {}", member.name, sent.stderr);
        }
        Ok(())
    }

    /// Kills a worker as the kernel does when memory is short.
    pub(super) async fn kill(&mut self, place: usize) -> anyhow::Result<String> {
        let mut member = self.members.remove(place);
        member.child.kill().await?;
        Ok(member.name)
    }

    /// Kills a worker in the moment in which it has begun a job.
    pub(super) async fn kill_at_work(&mut self, place: usize) -> anyhow::Result<String> {
        let (name, notes) = (self.members[place].name.clone(), self.spec.begun.clone());
        let n_begun = || {
            let notes = std::fs::read_to_string(&notes).unwrap_or_default();
            notes.lines().filter(|note| note.split(' ').nth(1) == Some(name.as_str())).count()
        };
        let before = n_begun();
        eventually("a job that the worker begins", || async { (n_begun() > before).then_some(()) }).await;
        self.kill(place).await
    }

    /// Waits until a worker that was told to stop has ended.
    pub(super) async fn ended(&mut self, place: usize) -> anyhow::Result<()> {
        let mut member = self.members.remove(place);
        let status = tokio::time::timeout(self.spec.drain + patience(), member.child.wait()).await;
        let status = status.with_context(|| format!("{} does not stop", member.name))??;
        if !status.success() {
            bail!("{} ended with {status}", member.name);
        }
        Ok(())
    }

    /// Replaces workers that ended though nobody told them to, as whatever runs workers does.
    pub(super) async fn tend(&mut self) -> anyhow::Result<()> {
        let mut n_gone = 0;
        self.members.retain_mut(|member| {
            let gone = matches!(member.child.try_wait(), Ok(Some(_)));
            n_gone += usize::from(gone && !member.leaving);
            !gone
        });
        if n_gone > 0 { self.start(n_gone).await } else { Ok(()) }
    }
}

async fn begin(spec: Spec, name: String, oddity: Oddity, folder: &Path) -> anyhow::Result<Member> {
    let broker = Proxy::before(authority(&spec.dragonfly_url)).await;
    let postgres = Proxy::before(authority(&spec.database_url)).await;
    let log = folder.join(format!("{name}.log"));
    let spec = Spec {
        name: name.clone(),
        dragonfly_url: broker.url(&spec.dragonfly_url),
        database_url: postgres.url(&spec.database_url),
        version: oddity.version.unwrap_or(1),
        ..spec
    };
    let mut command: Command = bare(sibling("chaos-worker"));
    if let Some((library, seconds)) = &oddity.clock {
        command.env("LD_PRELOAD", library).env("CHAOS_CLOCK_OFFSET_S", seconds.to_string());
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    let mut told = child.stdin.take().context("its standard input is ours")?;
    told.write_all(&serde_json::to_vec(&spec)?).await?;
    drop(told);
    let limit = patience();
    let port = tokio::time::timeout(limit, until_ready(&log, &mut child)).await;
    let port = port.with_context(|| format!("{name} is not ready after {limit:?}; see {}", log.display()))??;
    Ok(Member { name, broker, postgres, port, child, leaving: false })
}

/// Reads its log until it says its port.
async fn until_ready(log: &Path, child: &mut Child) -> anyhow::Result<u16> {
    loop {
        let ended = child.try_wait()?;
        for line in tokio::fs::read_to_string(log).await?.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(port) = event.pointer("/fields/port").and_then(serde_json::Value::as_u64) {
                return Ok(u16::try_from(port)?);
            }
        }
        if let Some(status) = ended {
            bail!("the worker ended with {status} before it was ready; see {}", log.display());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
