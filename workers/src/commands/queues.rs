//! `tripsage queues`: what stands where, at a glance.

use engine::{broker::sampling, job::QueueName};
use serde::Serialize;

use crate::app::App;

#[derive(Serialize)]
struct Line {
    queue: QueueName,
    partitions: usize,
    ready: u64,
    in_flight: u64,
    later: u64,
    dead: u64,
    workers: u64,
    oldest_s: f64,
}

/// Prints a line a queue.
///
/// # Errors
/// When Dragonfly cannot be asked.
pub async fn run(app: &App, json: bool) -> anyhow::Result<()> {
    let client = app.client().await?;
    let now_ms = client.connection().now_ms().await?;
    let mut lines = Vec::new();
    for (queue, tags) in client.queues().await? {
        let mut line = Line {
            queue,
            partitions: tags.len(),
            ready: 0,
            in_flight: 0,
            later: 0,
            dead: 0,
            workers: 0,
            oldest_s: 0.0,
        };
        for tag in &tags {
            let depths = sampling::depths(client.connection(), &client.options().keys.partition(tag)).await?;
            line.ready += depths.ready();
            line.in_flight += depths.in_flight;
            line.later += depths.later;
            line.dead += depths.dead;
            line.workers = line.workers.max(depths.live);
            let age_ms = depths.oldest_ms.map_or(0, |ms| now_ms.saturating_sub(ms));
            line.oldest_s = line.oldest_s.max(std::time::Duration::from_millis(age_ms).as_secs_f64());
        }
        lines.push(line);
    }
    print(&lines, json);
    Ok(())
}

fn print(lines: &[Line], json: bool) {
    if json {
        println!("{}", serde_json::to_string(lines).expect("names and numbers have a JSON form"));
        return;
    }
    if lines.is_empty() {
        eprintln!("no queues yet: no worker has started on this server under this key prefix");
        return;
    }
    println!(
        "{:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>9}",
        "queue", "partitions", "ready", "running", "delayed", "dead", "workers", "oldest"
    );
    for line in lines {
        let Line { queue, partitions, ready, in_flight, later, dead, workers, oldest_s } = line;
        println!(
            "{:<14} {partitions:>10} {ready:>10} {in_flight:>10} {later:>10} {dead:>10} {workers:>8} {oldest_s:>8.1}s",
            queue.as_str()
        );
    }
}
