//! `tripsage dead`: what is given up, why, and putting it back to work.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use engine::{
    dead_letters::{Acted, DeadLetters, Manner},
    envelope::{Envelope, Reading},
    letter::Letter,
    store::{DeadFilter, DeadJob},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    app::App,
    cli::{ActArgs, DeadArgs, DeadCommand},
};

/// Carries out one of the verbs.
///
/// # Errors
/// When a server cannot be asked, or nothing is found where something was named.
pub async fn run(app: &App, command: &DeadCommand) -> anyhow::Result<()> {
    match command {
        DeadCommand::List { filter, limit, json } => list(app, filter, *limit, *json).await,
        DeadCommand::Show { job, filter: args, limit, json } => {
            let filter = filter(args);
            show(app, &DeadFilter { id: job.or(filter.id), ..filter }, *limit, *json).await
        }
        DeadCommand::Redrive(args) => act(app, args, Verb::Redrive).await,
        DeadCommand::Purge(args) => act(app, args, Verb::Purge).await,
    }
}

fn filter(args: &DeadArgs) -> DeadFilter {
    let DeadArgs { id, queue, kind, class, user, since, until } = args.clone();
    DeadFilter { id, queue, kind, class, user_id: user, since, until }
}

async fn list(app: &App, args: &DeadArgs, limit: u32, json: bool) -> anyhow::Result<()> {
    let dead = app.store().await?.dead_jobs(&filter(args), limit).await?;
    for job in &dead {
        if json {
            println!("{}", serde_json::to_string(job)?);
        } else {
            let error: String = job.error.chars().take(100).collect();
            let (died_at, kind) =
                (job.died_at.format("%Y-%m-%d %H:%M:%S"), if job.kind.is_empty() { "?" } else { &job.kind });
            println!(
                "{}  {died_at}  {kind:<20} {:<6} {:<12} attempt {}  {error}",
                job.id, job.status, job.class, job.attempt
            );
        }
    }
    if !json {
        match dead.len() {
            0 => eprintln!("no dead jobs"),
            n_dead if n_dead == limit as usize => eprintln!("{n_dead} shown; there may be more (--limit)"),
            n_dead => eprintln!("{n_dead} dead jobs"),
        }
    }
    Ok(())
}

async fn show(app: &App, filter: &DeadFilter, limit: u32, json: bool) -> anyhow::Result<()> {
    if filter == &DeadFilter::default() {
        bail!("say which: an id, --queue, --kind, --class, --user, --since or --until");
    }
    let found = app.store().await?.dead_jobs(filter, limit).await?;
    match (filter.id, found.is_empty()) {
        (Some(id), true) => bail!("no dead job {id}"),
        (None, true) => bail!("no dead job is meant by these filters; `tripsage dead list` shows which there are"),
        (_, false) => found.iter().try_for_each(|job| show_one(job, json)),
    }
}

/// The trace's id out of a W3C `traceparent`, such as `00-<trace>-<span>-01`.
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1).filter(|id| id.len() == 32)
}

fn show_one(job: &DeadJob, json: bool) -> anyhow::Result<()> {
    let id = job.id;
    let trace_id = job.traceparent.as_deref().and_then(trace_id);
    let letter = Letter::read(&job.letter).context("read the letter")?;
    let envelope = Envelope::read(&letter.envelope.clone().into(), || id);
    let payload = match &envelope {
        Ok(Reading::Whole(envelope)) => envelope.payload::<serde_json::Value>().ok(),
        _ => None,
    };
    if json {
        let shown = serde_json::json!({ "job": job, "trace_id": trace_id, "errors": letter.errors, "payload": payload, "bytes_hex": payload.is_none().then(|| hex(&letter.envelope)) });
        println!("{shown}");
        return Ok(());
    }
    println!("{id}  {}  {}  died {}", if job.kind.is_empty() { "?" } else { &job.kind }, job.status, job.died_at);
    println!("queue {}  partition {}  user {}", job.queue, job.partition, job.user_id.as_deref().unwrap_or("-"));
    println!("trace {}", trace_id.or(job.traceparent.as_deref()).unwrap_or("-"));
    for error in &letter.errors {
        println!("attempt {} on {} ({}):", error.attempt, error.worker, error.class);
        error.chain.iter().for_each(|text| println!("    {text}"));
    }
    match payload {
        Some(payload) => println!("payload:\n{}", serde_json::to_string_pretty(&payload)?),
        None => println!("{} bytes that could not be read:\n{}", letter.envelope.len(), hex(&letter.envelope)),
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(512).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 512 { format!("{shown}…") } else { shown }
}

enum Verb {
    Redrive,
    Purge,
}

async fn act(app: &App, args: &ActArgs, verb: Verb) -> anyhow::Result<()> {
    let filter = filter(&args.filter);
    if filter == DeadFilter::default() && !args.all {
        bail!("say which: --id, --queue, --kind, --class, --user, --since, --until, or --all; --dry-run counts first");
    }
    let client = app.client().await?;
    let queues: BTreeMap<_, _> = client.queues().await?;
    let (connection, keys) = (client.connection().clone(), client.options().keys.clone());
    let letters = DeadLetters { connection, keys, store: app.store().await?, queues };
    let manner = Manner { dry_run: args.dry_run, per_second: args.per_second };
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {pos} dead jobs")?);
    let progress = |n_jobs: usize| bar.set_position(n_jobs as u64);
    let acted = match verb {
        Verb::Redrive => letters.redrive(&filter, manner, progress).await,
        Verb::Purge => letters.purge(&filter, manner, progress).await,
    };
    bar.finish_and_clear();
    report(&acted?, args, &verb);
    Ok(())
}

fn report(acted: &Acted, args: &ActArgs, verb: &Verb) {
    if args.json {
        println!("{}", serde_json::to_string(acted).expect("three numbers have a JSON form"));
        return;
    }
    let done = match verb {
        Verb::Redrive => "put back to work",
        Verb::Purge => "deleted",
    };
    let Acted { matched, done: n_done, unreadable } = acted;
    if args.dry_run {
        println!("{matched} would be {done}");
    } else {
        println!("{n_done} of {matched} {done}");
    }
    if *unreadable > 0 {
        eprintln!("{unreadable} letters could not be read and were left where they are");
    }
}
