//! An adapter of a peer: a child process that measures once and prints its answer as a line of JSON.
//!
//! Promise: one that takes too long is killed with its children, and why there is no answer is said in one line. Its
//! standard input stays open as long as we live: an adapter ends when it does, so that none outlives a killed benchmark.

use std::{pin::pin, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use tokio::{process::Command, time::timeout};

/// The system needs no longer to end a killed process; whoever still has its output open then was not killed.
const GRACE: Duration = Duration::from_secs(5);

/// Runs it to its end; gives what it says.
pub(crate) async fn ask<A: DeserializeOwned>(mut command: Command, limit: Duration) -> anyhow::Result<A> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // The reason of a failure is its last line, not the end of a backtrace.
    command.env("RUST_BACKTRACE", "0").env_remove("RUST_LIB_BACKTRACE");
    // A group of its own, so that its children can be killed with it.
    let mut child = command.process_group(0).spawn().context("start its adapter")?;
    let _open = child.stdin.take();
    let group = child.id().context("the adapter ended at once")?;
    let mut ended = pin!(child.wait_with_output());
    let Ok(ended) = timeout(limit, &mut ended).await else {
        kill(group).await;
        let gone = timeout(GRACE, ended).await.is_ok();
        let left = if gone { "" } else { ", but something of it still runs" };
        bail!("it did not end within {} s and was killed{left}", limit.as_secs_f64());
    };
    let output = ended.context("wait for its adapter")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, last_line(&complaint).unwrap_or("it said nothing"));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(last_line(&said).unwrap_or_default()).context("read its answer")
}

/// Kills a group whose leader has not been waited for: its number is nobody else's.
async fn kill(group: u32) {
    let mut kill = Command::new("kill");
    kill.args(["-KILL", "--", &format!("-{group}")]).stdin(Stdio::null()).stderr(Stdio::null());
    kill.status().await.ok(); // Where there is no such program, the leader is killed when its handle is dropped.
}

fn last_line(text: &str) -> Option<&str> {
    text.trim().lines().last().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    async fn answer(script: &str, limit: Duration) -> Result<u32, String> {
        ask(shell(script), limit).await.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn the_last_line_is_the_answer() {
        assert_eq!(answer("echo some words; echo 7", Duration::MAX).await, Ok(7));
    }

    #[tokio::test]
    async fn the_last_words_of_one_that_failed_are_the_reason() {
        let said = answer("echo at line 1 >&2; echo 'no server  ' >&2; echo >&2; exit 3", Duration::MAX).await;
        assert_eq!(said, Err("exit status: 3: no server".to_owned()));
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_its_children() {
        let said = answer("sleep 600 & wait", Duration::from_millis(200)).await;
        assert_eq!(said, Err("it did not end within 0.2 s and was killed".to_owned()));
    }
}
