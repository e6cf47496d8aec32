//! `tripsage enqueue`: checks payloads against their kind, then submits them.

use std::io::Read;

use anyhow::{Context as _, bail};
use engine::{
    client::{Submission, accept_without_dragonfly},
    dedup::{Dedup, Mode},
    envelope::Options,
    handler::KindSpec,
    job::Priority,
    outcome::Status,
    policy::Durability,
};

use super::{lines, told};
use crate::{
    app::App,
    cli::{DedupModeArg, EnqueueArgs, PriorityArg},
    kinds,
};

/// Submits what the arguments say; prints ids, or the completion when asked to wait.
///
/// # Errors
/// What is wrong with the payload and where, or why the job was not accepted, or that it did not end well.
pub async fn run(app: &App, args: &EnqueueArgs) -> anyhow::Result<()> {
    let registry = kinds::registry();
    let Some(spec) = registry.spec(&args.kind) else {
        let known: Vec<&str> = registry.specs().iter().map(|spec| spec.kind.as_str()).collect();
        bail!("no kind `{}`; there are: {}", args.kind, known.join(", "));
    };
    let client = match app.submitter().await {
        Ok(client) => client,
        Err(away) => return without_dragonfly(app, spec, args, away).await,
    };
    if let Some(file) = &args.lines {
        return lines::submit(&client, spec, args, file).await;
    }
    let text = if args.payload == "-" { read_input()? } else { args.payload.clone() };
    let submission = submission(spec, &text, args)?;
    if !args.wait {
        let accepted = client.submit_each(vec![submission]).await?.remove(0)?;
        println!("{}", accepted.id);
        if accepted.existing {
            eprintln!("this job has the same dedup key and was submitted before: no other was added");
        }
        if let Some(replaced) = accepted.replaced {
            eprintln!("it takes the place of {replaced}, which was still waiting");
        }
        return Ok(());
    }
    let completion = client.submit_and_wait(submission, args.within).await?;
    println!("{}", serde_json::to_string_pretty(&completion)?);
    if completion.status != Status::Done {
        bail!("the job is {}", completion.status.as_str());
    }
    Ok(())
}

/// A job of a journaled queue is accepted also while Dragonfly is away.
async fn without_dragonfly(app: &App, spec: &KindSpec, args: &EnqueueArgs, away: anyhow::Error) -> anyhow::Result<()> {
    if args.wait || args.lines.is_some() {
        return Err(away);
    }
    let Ok(store) = app.store().await else { return Err(away) };
    let decided = store.policies().await?.get(&spec.queue).and_then(|policy| policy.durability);
    if decided.unwrap_or(app.settings.worker.durability) != Durability::Journaled {
        return Err(away);
    }
    let text = if args.payload == "-" { read_input()? } else { args.payload.clone() };
    let submission = submission(spec, &text, args)?;
    accept_without_dragonfly(&store, std::slice::from_ref(&submission)).await?;
    eprintln!("accepted into the journal; a worker brings it when Dragonfly is back ({})", told(&away));
    println!("{}", submission.envelope.id);
    Ok(())
}

fn read_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    Ok(text)
}

/// The job that a payload and the arguments make.
///
/// # Errors
/// What is wrong with the payload.
pub(super) fn submission(spec: &KindSpec, text: &str, args: &EnqueueArgs) -> anyhow::Result<Submission> {
    let payload: serde_json::Value = serde_json::from_str(text).context("the payload is not JSON")?;
    let mut submission = Submission::of(spec.kind.clone(), spec.queue.clone(), &payload)?.with(options(args));
    submission.delay = args.delay;
    kinds::registry().check(&submission.envelope).map_err(|reason| {
        anyhow::anyhow!(
            "the payload is not what `{}` expects: {reason}; `tripsage schemas` writes its schema",
            spec.kind
        )
    })?;
    Ok(submission)
}

fn options(args: &EnqueueArgs) -> Options {
    let priority = match args.priority {
        PriorityArg::High => Priority::High,
        PriorityArg::Normal => Priority::Normal,
        PriorityArg::Low => Priority::Low,
    };
    Options {
        user_id: args.user.clone(),
        priority,
        max_attempts: args.max_attempts,
        notify: args.notify.clone(),
        dedup: dedup(args),
        ..Options::default()
    }
}

fn dedup(args: &EnqueueArgs) -> Option<Dedup> {
    let mode = match args.dedup_mode {
        DedupModeArg::Reject => Mode::Reject,
        DedupModeArg::Existing => Mode::Existing,
        DedupModeArg::Replace => Mode::Replace,
        DedupModeArg::Debounce => Mode::Debounce,
        DedupModeArg::Throttle => Mode::Throttle,
    };
    let window_ms = u64::try_from(args.dedup_window.as_millis()).unwrap_or(u64::MAX);
    args.dedup_key.clone().map(|key| Dedup { key, window_ms, mode })
}
