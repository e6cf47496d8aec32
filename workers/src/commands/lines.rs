//! `tripsage enqueue --lines`: one job a line, and patience with a queue that is full.
//!
//! Promise: an id is printed for every job that was accepted and for no other, in the order of the lines.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use engine::{
    client::{Client, Submission, SubmitError},
    handler::KindSpec,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::enqueue::submission;
use crate::cli::EnqueueArgs;

/// Jobs submitted together.
const CHUNK: usize = 1_000;

/// Submits a job for every line of a file.
///
/// # Errors
/// Which line is wrong, or why a job was not accepted, and how many were before it.
pub(super) async fn submit(client: &Client, spec: &KindSpec, args: &EnqueueArgs, file: &Path) -> anyhow::Result<()> {
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("open {}", file.display()))?)
    };
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} jobs submitted {msg}")?);
    let lines = Lines { client, bar, waits: !args.fail_when_full };
    let mut chunk = Vec::with_capacity(CHUNK);
    for (number, line) in BufReader::new(input).lines().enumerate() {
        let line = line.with_context(|| format!("read line {}", number + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = || format!("line {} ({} jobs before it were submitted)", number + 1, lines.bar.position());
        chunk.push(submission(spec, &line, args).with_context(wrong)?);
        if chunk.len() == CHUNK {
            lines.submit(std::mem::take(&mut chunk)).await?;
        }
    }
    lines.submit(chunk).await?;
    lines.bar.finish_and_clear();
    eprintln!("{} jobs submitted", lines.bar.position());
    Ok(())
}

struct Lines<'a> {
    client: &'a Client,
    /// Counts what was submitted; drawn on a terminal alone.
    bar: ProgressBar,
    waits: bool,
}

impl Lines<'_> {
    /// Submits until all are accepted, or one is refused for good.
    async fn submit(&self, mut jobs: Vec<Submission>) -> anyhow::Result<()> {
        let mut n_waits = 0;
        while !jobs.is_empty() {
            let (refused, retry_after) = self.submit_some(jobs).await?;
            jobs = refused;
            let Some(retry_after) = retry_after else { continue };
            if n_waits == 0 && self.bar.is_hidden() {
                eprintln!("the queue is full: waiting for room (--fail-when-full stops instead)");
            }
            n_waits += 1;
            self.bar.set_message(format!("· the queue is full, asking again in {retry_after:?}"));
            tokio::time::sleep(retry_after).await;
        }
        self.bar.set_message("");
        Ok(())
    }

    /// Gives what found no room, and how long to wait for it.
    async fn submit_some(&self, jobs: Vec<Submission>) -> anyhow::Result<(Vec<Submission>, Option<Duration>)> {
        let submitted = self.client.submit_each(jobs.clone()).await.with_context(|| self.so_far())?;
        let (mut refused, mut wait) = (Vec::new(), None);
        for (job, submitted) in jobs.into_iter().zip(submitted) {
            match submitted {
                Ok(accepted) => {
                    println!("{}", accepted.id);
                    self.bar.inc(1);
                }
                Err(SubmitError::Busy { retry_after, .. } | SubmitError::JournalBusy { retry_after }) if self.waits => {
                    wait = wait.max(Some(retry_after));
                    refused.push(job);
                }
                Err(error) => return Err(error).with_context(|| self.so_far()),
            }
        }
        Ok((refused, wait))
    }

    fn so_far(&self) -> String {
        format!("after {} jobs were submitted", self.bar.position())
    }
}
