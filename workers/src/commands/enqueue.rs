//! `tripsage enqueue`: checks payloads against their kind, then submits them.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context as _, bail};
use engine::{
    client::{Client, Submission, accept_without_dragonfly},
    envelope::Options,
    handler::KindSpec,
    job::Priority,
    outcome::Status,
    policy::Durability,
};

use super::told;
use crate::{
    app::App,
    cli::{EnqueueArgs, PriorityArg},
    kinds,
};

/// Jobs submitted together.
const CHUNK: usize = 1_000;

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
        return submit_lines(&client, spec, args, file).await;
    }
    let text = if args.payload == "-" { read_input()? } else { args.payload.clone() };
    let submission = submission(spec, &text, args)?;
    if !args.wait {
        println!("{}", client.submit(submission).await?);
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

fn submission(spec: &KindSpec, text: &str, args: &EnqueueArgs) -> anyhow::Result<Submission> {
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
        ..Options::default()
    }
}

async fn submit_lines(
    client: &Client,
    spec: &KindSpec,
    args: &EnqueueArgs,
    file: &std::path::Path,
) -> anyhow::Result<()> {
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("open {}", file.display()))?)
    };
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut n_submitted = 0;
    for (number, line) in BufReader::new(input).lines().enumerate() {
        let line = line.with_context(|| format!("read line {}", number + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = || format!("line {} ({n_submitted} jobs before it were submitted)", number + 1);
        chunk.push(submission(spec, &line, args).with_context(wrong)?);
        if chunk.len() == CHUNK {
            n_submitted += submit(client, &mut chunk).await?;
        }
    }
    n_submitted += submit(client, &mut chunk).await?;
    eprintln!("{n_submitted} jobs submitted");
    Ok(())
}

async fn submit(client: &Client, chunk: &mut Vec<Submission>) -> anyhow::Result<usize> {
    let ids = client.submit_all(std::mem::take(chunk)).await?;
    for id in &ids {
        println!("{id}");
    }
    Ok(ids.len())
}
