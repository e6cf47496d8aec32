//! Faults of the server that holds the queues.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use engine::client::Submission;

use crate::chaos::{
    kinds::Effect,
    scenario::{Ending, Limit, Play},
    stage::{Stage, now},
    tally::Affected,
};

/// What is promised beyond an outage.
pub(super) const BEYOND: Duration = Duration::from_secs(5);

pub(in super::super) async fn killed(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.broker.kill();
    stage.pass(stage.size.outage / 3).await;
    // What workers held goes to others when their leases have run out, if a replica remembers it or the journal does.
    if !stage.fail_over().await {
        stage.broker.start_again().await;
    }
    let at = now();
    // Whoever asks for replicas has to give the new server one.
    let limit = Limit::All(stage.size.lease + BEYOND);
    stage.follow_again().await;
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), limit).into())
}

/// The server itself stays: what was not replicated runs all the same.
pub(in super::super) async fn replica_lost(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.replica.as_mut().context("a replica")?.kill();
    let answers = Arc::clone(&stage.answers);
    stage.until("a refusal", async || Ok(answers.n_not_replicated() > 0)).await?;
    let n_before = answers.n_accepted();
    stage.pass(stage.size.outage).await;
    let n_meanwhile = answers.n_accepted() - n_before;
    stage.follow_again().await;
    let at = now();
    stage.finish(load).await?;
    let play = Play::new(at, Affected::WaitingAt(at), Limit::All(BEYOND));
    Ok(play
        .check(move |_| match n_meanwhile {
            0 => Ok(()),
            n => Err(format!("{n} jobs counted as accepted while there was no replica")),
        })
        .into())
}

pub(in super::super) async fn rolled_back(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let saved = stage.broker.connect().await.ask(&["SAVE"]).await?;
    ensure!(saved == "OK", "SAVE: {saved}");
    stage.until_done(40).await?;
    stage.broker.kill();
    stage.broker.start_again().await;
    let at = now();
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), Limit::All(stage.size.lease + BEYOND)).into())
}

/// Heavy jobs come faster than they are done, until nothing more fits.
pub(in super::super) async fn full(stage: &mut Stage) -> anyhow::Result<Ending> {
    const ROOM: u64 = 3 << 20;
    stage.fleet.start(2).await?;
    let mut connection = stage.broker.connect().await;
    let info = connection.ask(&["INFO", "memory"]).await?;
    let bytes = |field: &str| info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok());
    let used = bytes("used_memory:").context("used_memory in INFO")?;
    // Dragonfly holds its limit against the memory of the whole process too, of which an empty one has much.
    let is_dragonfly = connection.ask(&["INFO", "server"]).await?.contains("dragonfly_version");
    let taken = if is_dragonfly { used.max(bytes("used_memory_rss:").unwrap_or_default()) } else { used };
    let limited = connection.ask(&["CONFIG", "SET", "maxmemory", &(taken + ROOM).to_string()]).await?;
    ensure!(limited == "OK", "CONFIG SET maxmemory: {limited}");
    let ballast = "x".repeat(20_000);
    let job = Effect { sleep_ms: 1_000, ballast, ..Effect::default() };
    let load = stage.load_of(200, Box::new(move |_| Submission::job(&job).unwrap()));
    let answers = Arc::clone(&stage.answers);
    stage.until("a refusal", async || Ok(answers.n_refused() > 0)).await?;
    let at = now();
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::Nobody, Limit::None).into())
}
