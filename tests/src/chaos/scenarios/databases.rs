//! Faults of Postgres.

use std::{io::Write, time::Duration};

use anyhow::Context as _;

use super::brokers::BEYOND;
use crate::chaos::{
    cluster::Cluster,
    scenario::{Ending, Limit, Play},
    stage::{Stage, now},
    tally::Affected,
};

fn cluster(stage: &mut Stage) -> anyhow::Result<&mut Cluster> {
    stage.cluster.as_mut().context("a Postgres of the scenario's own")
}

fn after_outage() -> Play {
    let at = now();
    Play::new(at, Affected::WaitingAt(at), Limit::All(BEYOND))
}

pub(in super::super) async fn restarted(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    cluster(stage)?.stop_at_once();
    cluster(stage)?.start_again().await?;
    let play = after_outage();
    stage.finish(load).await?;
    Ok(play.into())
}

pub(in super::super) async fn down(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    cluster(stage)?.stop_at_once();
    stage.pass(stage.size.outage).await;
    let told = readiness(stage.fleet.members[0].port).await?;
    cluster(stage)?.start_again().await?;
    let play = after_outage();
    stage.finish(load).await?;
    let play = play.check(move |_| match told {
        (503, body) if body.contains("\"database\":{\"ok\":false") => Ok(()),
        (status, body) => Err(format!("readiness did not say that Postgres is away: {status} {body}")),
    });
    Ok(play.into())
}

async fn readiness(port: u16) -> anyhow::Result<(u16, String)> {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/health/ready")).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// The disk is filled up by a file that is then taken away.
pub(in super::super) async fn disk_full(stage: &mut Stage) -> anyhow::Result<Ending> {
    let Some(disk) = stage.disk.clone() else {
        return Ok(Ending::Skipped("this user may not mount a small disk (root may)".to_owned()));
    };
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let ballast = disk.join("ballast");
    let mut file = std::fs::File::create(&ballast)?;
    while file.write_all(&[b'x'; 4096]).is_ok() {}
    drop(file);
    // What still fits into pages that are there already is committed all the same.
    stage.pass(stage.size.outage).await;
    let refused = refusals(stage)?;
    std::fs::remove_file(&ballast)?;
    let play = after_outage();
    stage.finish(load).await?;
    let play = play.check(move |_| match refused {
        0 => Err("Postgres never said that its disk is full: this proves nothing".to_owned()),
        _ => Ok(()),
    });
    Ok(play.into())
}

fn refusals(stage: &Stage) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(stage.folder.join("postgres.log"))?;
    Ok(log.matches("No space left on device").count())
}

pub(in super::super) async fn statement_timeout(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.spec.statement_timeout = Duration::from_millis(500);
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let mut lock = stage.database.pool.begin().await?;
    sqlx::query("lock table job_results in access exclusive mode").execute(&mut *lock).await?;
    stage.pass(stage.size.outage).await;
    lock.rollback().await?;
    let play = after_outage();
    stage.finish(load).await?;
    Ok(play.into())
}
