//! `tripsage job list`: which jobs of a queue wait, are delayed or run.

use engine::operator::{Listed, Listing};

use super::{decide, job::time};
use crate::{
    app::App,
    cli::{ListArgs, StateArg},
};

/// Prints the jobs of a queue in one state.
///
/// # Errors
/// A queue that there is not, or a server that cannot be asked.
pub async fn list(app: &App, args: &ListArgs) -> anyhow::Result<()> {
    let (operator, queue) = decide::operator(app, &args.queue).await?;
    let which = match args.state {
        StateArg::Delayed => Listing::Delayed,
        StateArg::Waiting => Listing::Waiting,
        StateArg::Running => Listing::Running,
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let jobs = operator.list(&queue, which, limit).await?;
    for job in &jobs {
        if args.json {
            println!("{}", serde_json::to_string(job)?);
        } else {
            println!("{}", line(job));
        }
    }
    if !args.json {
        match jobs.len() {
            0 => eprintln!("none"),
            n_jobs if n_jobs == limit => eprintln!("{n_jobs} shown; there may be more (--limit)"),
            n_jobs => eprintln!("{n_jobs} jobs"),
        }
    }
    Ok(())
}

fn line(Listed { id, due_ms, since_ms, worker, job }: &Listed) -> String {
    let kind = job.kind.as_ref().map_or("?", engine::job::Kind::as_str);
    let when = match (due_ms, since_ms) {
        (Some(due), _) => format!("due {}", time(*due)),
        (None, Some(since)) => format!("since {}", time(*since)),
        (None, None) => String::new(),
    };
    let on = worker.as_ref().map_or_else(String::new, |worker| format!("  on {worker}"));
    format!("{id}  {when}  {kind:<20} {:<6} attempt {}{on}", job.priority.as_str(), job.attempt)
}
