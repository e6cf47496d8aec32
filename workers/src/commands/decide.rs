//! `tripsage queues pause|resume|set|…`: decides about a queue, in force at once and for good.

use anyhow::bail;
use engine::{job::QueueName, operator::Operator, policy::Policy};

use crate::{
    app::App,
    cli::{QueueArgs, QueuesCommand, SetArgs},
    commands::{empty, queues::told},
    kinds,
};

/// Carries out one of the verbs.
///
/// # Errors
/// A queue that there is not, a value that is out of range, or a server that cannot be asked.
pub async fn run(app: &App, command: &QueuesCommand) -> anyhow::Result<()> {
    match command {
        QueuesCommand::Pause(args) => pause(app, args).await,
        QueuesCommand::Resume(args) => resume(app, args).await,
        QueuesCommand::Set(args) => set(app, args).await,
        QueuesCommand::Drain(args) => empty::drain(app, args).await,
        QueuesCommand::Purge(args) => empty::purge(app, args).await,
    }
}

/// An operator, and the queue that is meant.
///
/// # Errors
/// That there is no such queue, and which there are.
pub async fn operator(app: &App, queue: &str) -> anyhow::Result<(Operator, QueueName)> {
    let operator = app.operator().await?;
    // Those of this version's kinds, and those that workers of another version serve.
    let mut known = kinds::registry().queues();
    known.extend(operator.queues().keys().cloned());
    known.sort();
    known.dedup();
    match known.iter().find(|name| name.as_str() == queue) {
        Some(name) => Ok((operator, name.clone())),
        None => {
            let names: Vec<&str> = known.iter().map(QueueName::as_str).collect();
            bail!("no queue `{queue}`; there are: {}", names.join(", "))
        }
    }
}

async fn pause(app: &App, args: &QueueArgs) -> anyhow::Result<()> {
    let (operator, queue) = operator(app, &args.queue).await?;
    let policy = operator.pause(&queue).await?;
    print(&queue, &policy, args.json, "what runs goes on; `tripsage queues resume` lets it work again");
    Ok(())
}

async fn resume(app: &App, args: &QueueArgs) -> anyhow::Result<()> {
    let (operator, queue) = operator(app, &args.queue).await?;
    let policy = operator.resume(&queue).await?;
    print(&queue, &policy, args.json, "it works");
    Ok(())
}

async fn set(app: &App, args: &SetArgs) -> anyhow::Result<()> {
    if let Some(n) = args.concurrency.and_then(|choice| choice.0).filter(|n| !(1..=10_000).contains(n)) {
        bail!("--concurrency is {n}; expected 1..10000, or none (`tripsage queues pause` stops a queue)");
    }
    if args.max_depth.is_some_and(|choice| choice.0 == Some(0))
        || args.max_bytes.is_some_and(|choice| choice.0 == Some(0))
    {
        bail!("a limit of 0 would refuse every job; `tripsage queues drain` closes a queue");
    }
    let (operator, queue) = operator(app, &args.queue).await?;
    let policy = operator
        .decide(&queue, |policy| {
            policy.max_depth = args.max_depth.map_or(policy.max_depth, |choice| choice.0);
            policy.max_bytes = args.max_bytes.map_or(policy.max_bytes, |choice| choice.0);
            policy.concurrency = args.concurrency.map_or(policy.concurrency, |choice| choice.0);
            policy.durability = args.durability.map_or(policy.durability, |choice| choice.0);
        })
        .await?;
    print(&queue, &policy, args.json, "in force at every worker");
    Ok(())
}

fn print(queue: &QueueName, policy: &Policy, json: bool, meaning: &str) {
    if json {
        println!("{}", serde_json::json!({ "queue": queue, "policy": policy }));
    } else {
        println!("{queue}: {} ({meaning})", told(policy));
    }
}
