//! `tripsage job`: where a job is and what is known of it, and taking it back.

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use engine::{
    job::JobId,
    operator::{Cancelled, Ended, Hastened, JobState, Live},
    store::DeadJob,
};

use crate::{
    app::App,
    cli::{JobArgs, JobCommand, OneJobArgs},
    commands::jobs,
};

/// Shows a job, or carries out one of the verbs.
///
/// # Errors
/// When a server cannot be asked, or the job is not where the verb needs it.
pub async fn run(app: &App, args: &JobArgs) -> anyhow::Result<()> {
    match &args.command {
        None => show(app, args.id.context("say which job")?, args.json).await,
        Some(JobCommand::Cancel(args)) => cancel(app, args).await,
        Some(JobCommand::RunNow(args)) => run_now(app, args).await,
        Some(JobCommand::List(args)) => jobs::list(app, args).await,
    }
}

async fn show(app: &App, id: JobId, json: bool) -> anyhow::Result<()> {
    let state = app.operator().await?.state(id).await?;
    if json {
        println!("{}", as_json(id, &state)?);
    } else {
        println!("{id}: {}", told(&state));
        details(&state)?;
    }
    Ok(())
}

fn as_json(id: JobId, state: &JobState) -> anyhow::Result<serde_json::Value> {
    let mut json = serde_json::to_value(state)?;
    json["id"] = serde_json::to_value(id)?;
    if matches!(state, JobState::Failed(_) | JobState::Dead(_)) {
        json["next"] = format!("tripsage dead show {id}").into();
    }
    Ok(json)
}

/// A time as people read it.
pub(super) fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A state in one line.
fn told(state: &JobState) -> String {
    match state {
        JobState::Waiting { since_ms, ahead, ahead_or_more, job } => {
            let more = if *ahead_or_more { "or more " } else { "" };
            format!("waiting since {}, about {ahead} {more}ahead of it, {}", time(*since_ms), of(job))
        }
        JobState::Journaled { since_ms, job } => {
            format!("accepted at {}, not in Dragonfly yet, {}", time(*since_ms), of(job))
        }
        JobState::Delayed { due_ms, job } => format!("delayed until {}, {}", time(*due_ms), of(job)),
        JobState::Retrying { due_ms, job } => format!("to be tried again at {}, {}", time(*due_ms), of(job)),
        JobState::Running { worker, since_ms, deliveries, progress, job } => {
            let progress = progress.as_ref().map_or_else(String::new, |progress| format!(", {progress}"));
            format!("running on {worker} since {}, delivery {deliveries}, {}{progress}", time(*since_ms), of(job))
        }
        JobState::Done(ended) => format!("done at {}, {}", time(ended.timings.finished_ms), by(ended)),
        JobState::Cancelled(ended) => format!("cancelled at {}", time(ended.timings.finished_ms)),
        JobState::Failed(job) | JobState::Dead(job) => dead(job),
        JobState::Unknown => "unknown: never submitted here, or its result or dead letter was deleted".to_owned(),
    }
}

fn of(job: &Live) -> String {
    let kind = job.kind.as_ref().map_or("?", engine::job::Kind::as_str);
    format!("{kind} in {}, attempt {}", job.partition, job.attempt)
}

fn by(ended: &Ended) -> String {
    format!("attempt {} on {}", ended.attempt, ended.worker)
}

fn dead(job: &DeadJob) -> String {
    let (status, died_at) = (&job.status, job.died_at.format("%Y-%m-%dT%H:%M:%SZ"));
    format!("{status} since {died_at}, attempt {} ({}): {}", job.attempt, job.class, job.error)
}

/// What does not fit into a line.
fn details(state: &JobState) -> anyhow::Result<()> {
    match state {
        JobState::Waiting { job, .. }
        | JobState::Journaled { job, .. }
        | JobState::Delayed { job, .. }
        | JobState::Retrying { job, .. }
        | JobState::Running { job, .. } => {
            for error in &job.errors {
                println!("attempt {} on {} ({}): {}", error.attempt, error.worker, error.class, error.chain.join(": "));
            }
        }
        JobState::Done(ended) => println!("{}", serde_json::to_string_pretty(&ended.result)?),
        JobState::Failed(job) | JobState::Dead(job) => println!("see `tripsage dead show {}`", job.id),
        JobState::Cancelled(_) | JobState::Unknown => {}
    }
    Ok(())
}

async fn cancel(app: &App, args: &OneJobArgs) -> anyhow::Result<()> {
    let id = args.id;
    let cancelled = app.operator().await?.cancel(id).await?;
    let (word, meaning) = match &cancelled {
        Cancelled::Removed => ("removed", "cancelled before it began".to_owned()),
        Cancelled::Stopped => ("stopped", "cancelled while it ran; its worker has ended it".to_owned()),
        Cancelled::Told => (
            "told",
            "cancelled; a worker has it and is told to end it; should it run on, what it does is dropped".to_owned(),
        ),
        Cancelled::Already => ("already", "cancelled already".to_owned()),
        Cancelled::Over(state) => ("over", format!("not cancelled, it is over: {}", told(state))),
        Cancelled::Unknown => ("unknown", format!("not cancelled: {}", told(&JobState::Unknown))),
    };
    if args.json {
        println!("{}", serde_json::json!({ "id": id, "cancelled": word, "meaning": meaning }));
    }
    match cancelled {
        Cancelled::Over(_) | Cancelled::Unknown => bail!("job {id} is {meaning}"),
        _ if !args.json => println!("{id}: {meaning}"),
        _ => {}
    }
    Ok(())
}

async fn run_now(app: &App, args: &OneJobArgs) -> anyhow::Result<()> {
    let id = args.id;
    match app.operator().await?.run_now(id).await? {
        Hastened::Ready if args.json => println!("{}", serde_json::json!({ "id": id, "ready": true })),
        Hastened::Ready => println!("{id}: ready"),
        Hastened::NotDelayed(state) => bail!("job {id} does not wait for its time; it is {}", told(&state)),
    }
    Ok(())
}
