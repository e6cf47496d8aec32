//! Faults of the network between workers, producers and servers.

use std::{sync::Arc, time::Duration};

use engine::policy::Durability;

use super::brokers::BEYOND;
use crate::chaos::{
    scenario::{Ending, Limit, Play},
    scenarios::workers::held,
    stage::{Stage, now},
    tally::Affected,
};

pub(in super::super) async fn worker_from_broker(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.fleet.members[0].broker.stall();
    let silent = (stage.fleet.members[0].name.clone(), now());
    stage.pass(stage.size.outage.max(stage.size.lease * 2)).await;
    stage.fleet.members[0].broker.heal();
    stage.finish(load).await?;
    Ok(held(now(), vec![silent], stage.size.lease + Duration::from_secs(2)).into())
}

pub(in super::super) async fn fleet_from_broker(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.fleet.members.iter().for_each(|member| member.broker.stall());
    stage.pass(stage.size.outage).await;
    stage.fleet.members.iter().for_each(|member| member.broker.heal());
    let at = now();
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), Limit::All(BEYOND)).into())
}

pub(in super::super) async fn fleet_from_postgres(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.fleet.members.iter().for_each(|member| member.postgres.stall());
    stage.pass(stage.size.outage).await;
    stage.fleet.members.iter().for_each(|member| member.postgres.heal());
    let at = now();
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), Limit::All(BEYOND)).into())
}

pub(in super::super) async fn producer_from_broker(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.producer.stall();
    stage.pass(stage.size.outage).await;
    if stage.durability == Durability::Journaled {
        let (answers, before) = (Arc::clone(&stage.answers), stage.answers.n_accepted());
        stage.until("jobs to be accepted all the same", async || Ok(answers.n_accepted() > before + 20)).await?;
    }
    stage.producer.heal();
    let at = now();
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), Limit::All(BEYOND)).into())
}

pub(in super::super) async fn snipped(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let n_rounds = if stage.size.outage > Duration::from_secs(10) { 20 } else { 4 };
    for _ in 0..n_rounds {
        stage.producer.snip();
        stage.fleet.members.iter().for_each(|member| member.broker.snip());
        stage.pass(Duration::from_millis(300)).await;
        stage.fleet.members.iter().for_each(|member| member.postgres.snip());
        stage.pass(Duration::from_millis(300)).await;
    }
    let (at, answers) = (now(), Arc::clone(&stage.answers));
    stage.finish(load).await?;
    let play = Play::new(at, Affected::WaitingAt(at), Limit::All(BEYOND));
    Ok(play
        .check(move |_| match answers.n_unknown() {
            0 => Err("no submission was left without an answer: this proves nothing".to_owned()),
            _ => Ok(()),
        })
        .into())
}

/// A firewall forgets connections: they stay open on this side, and nothing comes any more.
pub(in super::super) async fn postgres_forgotten(stage: &mut Stage) -> anyhow::Result<Ending> {
    const STATEMENT: Duration = Duration::from_secs(1);
    // So long the server keeps a transaction that it hears no more of, and its rows.
    const NOTICED: Duration = Duration::from_secs(1 + 15);
    stage.fleet.spec.statement_timeout = STATEMENT;
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.fleet.members.iter().for_each(|member| member.postgres.stall());
    stage.fleet.members.iter().for_each(|member| member.postgres.heal_forgetting());
    let at = now();
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), Limit::All(NOTICED + BEYOND)).into())
}
