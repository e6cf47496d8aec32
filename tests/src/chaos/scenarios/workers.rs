//! Faults of worker processes.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use engine::{client::Submission, job::JobId};

use crate::chaos::{
    fleet::Oddity,
    kinds::{Effect, Gathered, LINGER, Rolling, RollingV2},
    scenario::{Ending, Limit, Play},
    shim,
    stage::{Stage, now},
    tally::{Affected, Evidence},
};

/// What is promised beyond the lease when a worker is killed.
const BEYOND: Duration = Duration::from_secs(2);
/// What is promised for what a stopping worker hands back.
const HANDED_BACK: Duration = Duration::from_secs(1);

pub(in super::super) async fn killed_once(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let died = (stage.fleet.kill_at_work(0).await?, now());
    stage.pass(stage.size.lease).await;
    stage.finish(load).await?;
    Ok(held(died.1, vec![died], stage.size.lease + BEYOND).into())
}

pub(in super::super) async fn killed_repeatedly(stage: &mut Stage) -> anyhow::Result<Ending> {
    let n_kills = if stage.size.outage > Duration::from_secs(10) { 10 } else { 3 };
    stage.fleet.start(3).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let mut died = Vec::new();
    for _ in 0..n_kills {
        died.push((stage.fleet.kill_at_work(0).await?, now()));
        stage.fleet.start(1).await?;
        stage.pass(Duration::from_secs(2)).await;
    }
    stage.finish(load).await?;
    // The next kill may hit whoever took such a job over: it waits for a second lease then.
    Ok(held(now(), died, 2 * stage.size.lease + BEYOND).into())
}

/// What these workers held has to be done in time, and there must have been something.
pub(super) fn held(over: DateTime<Utc>, workers: Vec<(String, DateTime<Utc>)>, limit: Duration) -> Play {
    let asked = workers.clone();
    Play::new(over, Affected::HeldBy(workers), Limit::P99(limit)).check(move |evidence| {
        let n_held: usize = asked.iter().map(|(worker, at)| evidence.held(worker, *at).len()).sum();
        if n_held > 0 { Ok(()) } else { Err("nobody held anything: this proves nothing".to_owned()) }
    })
}

pub(in super::super) async fn stopped_and_continued(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.fleet.signal(0, "-STOP").await?;
    let (zombie, at) = (stage.fleet.members[0].name.clone(), now());
    stage.pass(stage.size.lease * 3).await;
    stage.fleet.signal(0, "-CONT").await?;
    stage.finish(load).await?;
    let slept = zombie.clone();
    let play = held(at, vec![(zombie, at)], stage.size.lease + BEYOND).check(move |evidence| {
        // What nobody had claimed by the time that it woke is still its own.
        let began = |id: &JobId, itself| {
            let mut later = evidence.begun.iter().filter(|begun| begun.id == *id && begun.at > at);
            later.find(|begun| (begun.worker == slept) == itself).map(|begun| begun.at)
        };
        let wrote = |id: &JobId| {
            let (done, elsewhere) = (evidence.done.get(id)?, began(id, false)?);
            Some(done.worker == slept && done.committed_at > elsewhere && began(id, true).is_none())
        };
        let written = evidence.held(&slept, at).iter().filter(|id| wrote(id) == Some(true)).count();
        if written == 0 { Ok(()) } else { Err(format!("the zombie wrote {written} results of what it had lost")) }
    });
    Ok(play.into())
}

pub(in super::super) async fn told_to_stop(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let gathered = stage.load_of(stage.size.rate, Box::new(|_| Submission::batch_job(&Gathered {}).unwrap()));
    let load = stage.load();
    stage.until_done(40).await?;
    let at = now();
    stage.fleet.signal(0, "-TERM").await?;
    let (leaver, patience) = (stage.fleet.members[0].name.clone(), stage.size.patience);
    stage.fleet.ended(0).await?;
    gathered.end().await?;
    stage.finish(load).await?;
    let play = Play::new(at, Affected::WaitingAt(at), Limit::None).check(move |evidence| {
        let early: HashSet<JobId> =
            evidence.begun.iter().filter(|begun| begun.at <= at).map(|begun| begun.id).collect();
        let waiting =
            |id: &JobId| !early.contains(id) && evidence.accepted.get(id).is_some_and(|accepted| *accepted <= at);
        let elsewhere = evidence.begun.iter().filter(|begun| begun.worker != leaver && waiting(&begun.id));
        begun_within(elsewhere.map(|begun| begun.at), at, HANDED_BACK + LINGER + patience)
    });
    Ok(play.into())
}

fn begun_within(
    begun: impl Iterator<Item = DateTime<Utc>>,
    since: DateTime<Utc>,
    limit: Duration,
) -> Result<(), String> {
    let Some(last) = begun.max() else { return Err("nothing was handed back: this proves nothing".to_owned()) };
    let took = (last - since).to_std().unwrap_or_default();
    if took <= limit { Ok(()) } else { Err(format!("what was handed back began after {took:?}, promised {limit:?}")) }
}

pub(in super::super) async fn told_twice(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(2).await?;
    let job = Effect { sleep_ms: 5_000, ..Effect::default() };
    stage.submit((0..40).map(|_| Submission::job(&job).unwrap()).collect()).await;
    let begun = stage.fleet.spec.begun.clone();
    stage
        .until("jobs to have begun", async || {
            Ok(std::fs::read_to_string(&begun).is_ok_and(|text| text.lines().count() == 40))
        })
        .await?;
    let load = stage.load();
    stage.fleet.signal(0, "-TERM").await?;
    stage.pass(Duration::from_millis(500)).await;
    let at = now();
    stage.fleet.signal(0, "-TERM").await?;
    let (leaver, patience) = (stage.fleet.members[0].name.clone(), stage.size.patience);
    stage.fleet.ended(0).await?;
    stage.finish(load).await?;
    let play =
        Play::new(at, Affected::HeldBy(vec![(leaver.clone(), at)]), Limit::None).check(move |evidence: &Evidence| {
            let held = evidence.held(&leaver, at);
            let again = evidence.begun.iter().filter(|begun| begun.worker != leaver && held.contains(&begun.id));
            begun_within(again.map(|begun| begun.at), at, HANDED_BACK + patience)
        });
    Ok(play.into())
}

pub(in super::super) async fn scaled(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(1).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    stage.fleet.start(3).await?;
    stage.until_done(40).await?;
    for _ in 0..3 {
        stage.fleet.signal(0, "-TERM").await?;
        stage.fleet.ended(0).await?;
    }
    stage.finish(load).await?;
    Ok(Play::new(now(), Affected::Nobody, Limit::None).into())
}

/// Jobs of the new version come as soon as the first new worker is there; old workers leave them for later.
pub(in super::super) async fn rolled(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.fleet.start(3).await?;
    let load = stage.load_of(stage.size.rate, Box::new(|_| Submission::job(&Rolling {}).unwrap()));
    stage.until_done(20).await?;
    let mut newer = None;
    for _ in 0..3 {
        stage.fleet.signal(0, "-TERM").await?;
        stage.fleet.start_odd(vec![Oddity { version: Some(2), ..Oddity::default() }]).await?;
        stage.fleet.ended(0).await?;
        newer.get_or_insert_with(|| {
            let job = RollingV2 { why: "a new version".to_owned() };
            stage.load_of(stage.size.rate / 2, Box::new(move |_| Submission::job(&job).unwrap()))
        });
    }
    stage.finish(load).await?;
    if let Some(newer) = newer {
        newer.end().await?;
    }
    Ok(Play::new(now(), Affected::Nobody, Limit::None).into())
}

pub(in super::super) async fn cold_start(stage: &mut Stage) -> anyhow::Result<Ending> {
    let load = stage.load();
    let answers = std::sync::Arc::clone(&stage.answers);
    stage.until("jobs before workers", async || Ok(answers.n_accepted() >= 20)).await?;
    stage.fleet.start(2).await?;
    let at = now();
    stage.until_done(20).await?;
    stage.finish(load).await?;
    Ok(Play::new(at, Affected::WaitingAt(at), Limit::All(Duration::from_secs(5))).into())
}

const MINUTES: i64 = 600;
const DELAY: Duration = Duration::from_secs(1);

pub(in super::super) async fn clock_off(stage: &mut Stage) -> anyhow::Result<Ending> {
    let library = match shim::clock(&stage.folder) {
        Ok(library) => library,
        Err(why) => return Ok(Ending::Skipped(why)),
    };
    let odd = |seconds| Oddity { clock: Some((library.clone(), seconds)), ..Oddity::default() };
    stage.fleet.start_odd(vec![odd(MINUTES), odd(-MINUTES), Oddity::default()]).await?;
    let load = stage.load();
    stage.until_done(20).await?;
    let at = now();
    let delayed: Vec<Submission> = (0..50).map(|_| stage.effect().after(DELAY)).collect();
    let ids: HashSet<JobId> = delayed.iter().map(|job| job.envelope.id).collect();
    stage.submit(delayed).await;
    let died = (stage.fleet.kill(0).await?, now());
    stage.pass(stage.size.lease).await;
    stage.finish(load).await?;
    let play = Play::new(at, Affected::Nobody, Limit::None).check(move |evidence: &Evidence| {
        let wrong =
            evidence.begun.iter().filter(|begun| (begun.at - at).abs() > chrono::TimeDelta::seconds(MINUTES / 2));
        let n_wrong = wrong.count();
        if n_wrong == 0 {
            return Err("no worker's clock was off: this proves nothing".to_owned());
        }
        let early =
            ids.iter().filter_map(|id| evidence.done.get(id)).filter(|done| done.started_at < at + DELAY).count();
        let late = evidence
            .done
            .values()
            .filter(|done| (done.started_at - done.committed_at).abs() > chrono::TimeDelta::seconds(60));
        let (n_late, died) = (late.count(), &died.0);
        match (early, n_late) {
            (0, 0) => Ok(()),
            _ => {
                Err(format!("{early} delayed jobs began early, {n_late} results tell a wrong time ({died} was killed)"))
            }
        }
    });
    Ok(play.into())
}
