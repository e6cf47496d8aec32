//! `tripsage health`: asks a worker on this machine, for container health checks.

use std::time::Duration;

use anyhow::{Context as _, bail};

/// Succeeds when the worker says that it lives, or that it is ready.
///
/// # Errors
/// When it does not answer in time or says no.
pub async fn run(port: u16, ready: bool) -> anyhow::Result<()> {
    let path = if ready { "ready" } else { "live" };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(8)).no_proxy().build()?;
    let url = format!("http://127.0.0.1:{port}/health/{path}");
    let answer = client.get(&url).send().await.with_context(|| format!("no worker answers at {url}"))?;
    let good = answer.status().is_success();
    println!("{}", answer.text().await?);
    if !good {
        bail!("the worker is not {path}");
    }
    Ok(())
}
