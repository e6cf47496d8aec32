//! `tripsage queues drain|purge`: lets a queue run empty, or empties it.

use std::time::Duration;

use anyhow::bail;
use engine::operator::Left;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::decide;
use crate::{
    app::App,
    cli::{DrainArgs, PurgeArgs},
};

/// How often it is looked how much is left.
const LOOK: Duration = Duration::from_millis(200);

/// Closes a queue and waits until it is empty.
///
/// # Errors
/// A queue that there is not or that is paused, a server that cannot be asked, or that the time was too short.
pub async fn drain(app: &App, args: &DrainArgs) -> anyhow::Result<()> {
    let (operator, queue) = decide::operator(app, &args.queue).await?;
    let policy = operator.close(&queue).await?;
    let first = operator.left(&queue).await?;
    if policy.paused && first.total() > 0 && !args.no_wait {
        bail!(
            "{queue} is closed now, but it is paused too and nothing of it runs; `tripsage queues resume {queue}`, then drain again"
        );
    }
    let mut left = first;
    if !args.no_wait {
        let bar = bar(first.total())?;
        let until = Instant::now() + args.within;
        while left.total() > 0 {
            if Instant::now() >= until {
                bar.finish_and_clear();
                bail!(
                    "{queue} is closed, but after {:?} {} jobs wait, {} run, {} are delayed; the same command waits on",
                    args.within,
                    left.waiting,
                    left.running,
                    left.delayed
                );
            }
            tokio::time::sleep(LOOK).await;
            left = operator.left(&queue).await?;
            bar.set_length(bar.length().unwrap_or_default().max(left.total()));
            bar.set_position(bar.length().unwrap_or_default() - left.total());
        }
        bar.finish_and_clear();
    }
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "queue": queue, "drained": first.total() - left.total().min(first.total()), "left": left })
        );
    } else if left.total() == 0 {
        println!(
            "{queue}: empty and closed, {} jobs were left; `tripsage queues resume {queue}` opens it",
            first.total()
        );
    } else {
        println!("{queue}: closed; {} jobs wait, {} run, {} are delayed", left.waiting, left.running, left.delayed);
    }
    Ok(())
}

fn bar(n_jobs: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs")?;
    Ok(ProgressBar::new(n_jobs).with_style(style))
}

/// Cancels what waits or is delayed.
///
/// # Errors
/// A queue that there is not, a server that cannot be asked, or that it was not confirmed.
pub async fn purge(app: &App, args: &PurgeArgs) -> anyhow::Result<()> {
    let (operator, queue) = decide::operator(app, &args.queue).await?;
    let Left { waiting, delayed, .. } = operator.left(&queue).await?;
    if !args.yes {
        bail!(
            "{waiting} waiting and {delayed} delayed jobs of {queue} would be cancelled for good; say --yes to do it"
        );
    }
    let bar = bar(waiting + delayed)?;
    let purged = operator.purge(&queue, |n_jobs| bar.set_position(n_jobs)).await;
    bar.finish_and_clear();
    let purged = purged?;
    if args.json {
        println!("{}", serde_json::json!({ "queue": queue, "cancelled": purged.cancelled, "told": purged.told }));
    } else {
        println!("{queue}: {} jobs cancelled, {} that workers took meanwhile are told", purged.cancelled, purged.told);
    }
    Ok(())
}
