//! `tripsage watch`: follows completions, those kept for replay first when asked.

use std::collections::HashSet;

use engine::{
    client::Client,
    completion::Completion,
    completions::{Filter, cursors, replay_some},
    job::JobId,
};

use crate::{app::App, cli::WatchArgs};

/// Prints completions until interrupted, or until as many as asked for have come.
///
/// # Errors
/// When Dragonfly cannot be reached, or a name is none.
pub async fn run(app: &App, args: &WatchArgs) -> anyhow::Result<()> {
    let client = app.client().await?;
    let filter = filter(args)?;
    // Subscribed first: what is published during the replay is seen by one of the two.
    let mut live = client.completions(&filter).await?;
    let mut printer = Printer { json: args.json, left: args.count, replayed: HashSet::new() };
    if args.replay {
        replay(&client, &filter, &mut printer).await?;
    }
    while printer.left != Some(0) {
        let Some(batch) = live.next().await else { break };
        if batch.missed {
            eprintln!("some completions were missed; `tripsage watch --replay` shows those that are kept");
        }
        batch.completions.iter().for_each(|completion| printer.live(completion));
    }
    Ok(())
}

fn filter(args: &WatchArgs) -> anyhow::Result<Filter> {
    Ok(match args {
        WatchArgs { queue: Some(queue), .. } => Filter::Queue(queue.parse()?),
        WatchArgs { kind: Some(kind), .. } => Filter::Kind(kind.parse()?),
        WatchArgs { job: Some(id), .. } => Filter::Job(*id),
        WatchArgs { user: Some(user), .. } => Filter::User(user.clone()),
        WatchArgs { reply: Some(name), .. } => Filter::Reply(name.clone()),
        _ => Filter::All,
    })
}

async fn replay(client: &Client, filter: &Filter, printer: &mut Printer) -> anyhow::Result<()> {
    for mut cursor in cursors(&client.queues().await?) {
        loop {
            let before = cursor.after.clone();
            let kept = replay_some(client.connection(), &client.options().keys, &mut cursor).await?;
            kept.iter()
                .filter(|completion| means(filter, completion))
                .for_each(|completion| printer.replayed(completion));
            if cursor.after == before {
                break;
            }
        }
    }
    Ok(())
}

/// The replay streams hold every completion; a reply channel's name is not kept with them.
fn means(filter: &Filter, completion: &Completion) -> bool {
    match filter {
        Filter::All => true,
        Filter::Queue(queue) => completion.queue == *queue,
        Filter::Kind(kind) => completion.kind == *kind,
        Filter::Job(id) => completion.id == *id,
        Filter::User(user) => completion.user_id.as_ref() == Some(user),
        Filter::Reply(_) => false,
    }
}

struct Printer {
    json: bool,
    left: Option<u64>,
    replayed: HashSet<JobId>,
}

impl Printer {
    fn replayed(&mut self, completion: &Completion) {
        self.replayed.insert(completion.id);
        self.print(completion);
    }

    fn live(&mut self, completion: &Completion) {
        if !self.replayed.remove(&completion.id) {
            self.print(completion);
        }
    }

    fn print(&mut self, completion: &Completion) {
        if self.left == Some(0) {
            return;
        }
        self.left = self.left.map(|left| left - 1);
        if self.json {
            println!("{}", serde_json::to_string(completion).expect("a completion has a JSON form"));
            return;
        }
        let Completion { id, kind, status, attempt, timings, worker, error, .. } = completion;
        let waited = timings.started_ms.saturating_sub(timings.queued_ms);
        let ran = timings.finished_ms.saturating_sub(timings.started_ms);
        let reason =
            error.as_ref().and_then(|error| error.chain.first()).map(|text| format!("  {text}")).unwrap_or_default();
        let status = status.as_str();
        println!("{id}  {kind:<20} {status:<7} attempt {attempt}  waited {waited} ms, ran {ran} ms  {worker}{reason}");
    }
}
