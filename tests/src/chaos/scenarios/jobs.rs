//! Jobs that are themselves the fault.

use std::time::Duration;

use engine::{client::Submission, job::JobId};

use crate::chaos::{
    kinds::{Effect, Poison},
    scenario::{Ending, Limit, Play},
    stage::{Stage, now},
    tally::{Affected, Evidence},
};

/// While the table is locked the first settlements wait, and everything else gathers behind them.
pub(in super::super) async fn bad_row(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.spec.concurrency = 600;
    stage.fleet.start(1).await?;
    let job = |bad| Submission::job(&Effect { sleep_ms: 100, bad, ..Effect::default() }).unwrap();
    let mut lock = stage.database.pool.begin().await?;
    sqlx::query("lock table job_results in exclusive mode").execute(&mut *lock).await?;
    let bad = job(true);
    let id = bad.envelope.id;
    stage.submit((0..20).map(|_| job(false)).collect()).await;
    stage.submit((0..499).map(|_| job(false)).chain([bad]).collect()).await;
    let begun = stage.fleet.spec.begun.clone();
    stage
        .until("jobs to have begun", async || {
            Ok(std::fs::read_to_string(&begun).is_ok_and(|text| text.lines().count() == 520))
        })
        .await?;
    stage.pass(Duration::from_millis(500)).await; // until their handlers have ended
    lock.rollback().await?;
    let at = now();
    let play = Play { n_dead: 1, ..Play::new(at, Affected::WaitingAt(at), Limit::All(Duration::from_secs(10))) };
    Ok(play.check(move |evidence| only(evidence, id)).into())
}

fn only(evidence: &Evidence, id: JobId) -> Result<(), String> {
    if evidence.dead.keys().eq([&id]) { Ok(()) } else { Err("another job than the bad one was given up".to_owned()) }
}

pub(in super::super) async fn poison(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let poison = Submission::job(&Poison {}).unwrap();
    let id = poison.envelope.id;
    let at = now();
    stage.submit(vec![poison]).await;
    while !stage.database.dead().await?.contains_key(&id) && (now() - at).num_seconds() < 60 {
        stage.fleet.tend().await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.finish(load).await?;
    // On a machine that does other things besides its turn may not come in time.
    let most = if stage.size.patience.is_zero() { 2 } else { 3 };
    let play = Play { n_dead: 1, ..Play::new(now(), Affected::Nobody, Limit::None) };
    let play = play.check(move |evidence| only(evidence, id)).check(move |evidence| {
        let n_kills = evidence.begun.iter().filter(|begun| begun.id == id).count();
        if (2..=most).contains(&n_kills) {
            Ok(())
        } else {
            Err(format!("the poison killed {n_kills} workers, expected 2"))
        }
    });
    Ok(play.into())
}

pub(in super::super) async fn long(stage: &mut Stage) -> anyhow::Result<Ending> {
    if stage.size.lease < Duration::from_secs(5) {
        stage.fleet.spec.lease = Duration::from_secs(1);
    }
    let lease = stage.fleet.spec.lease;
    stage.fleet.start(2).await?;
    let sleep_ms = u64::try_from(lease.as_millis())? * 10;
    let job = Submission::job(&Effect { sleep_ms, ..Effect::default() })?;
    let id = job.envelope.id;
    stage.submit(vec![job]).await;
    let load = stage.load();
    stage.finish(load).await?;
    stage.until("the long job", async || Ok(stage.database.done().await?.contains_key(&id))).await?;
    let play = Play::new(now(), Affected::Nobody, Limit::None).check(move |evidence| {
        let n_runs = evidence.begun.iter().filter(|begun| begun.id == id).count();
        if n_runs == 1 { Ok(()) } else { Err(format!("the long job ran {n_runs} times")) }
    });
    Ok(play.into())
}
