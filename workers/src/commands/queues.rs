//! `tripsage queues`: what stands where and what is decided, at a glance.

use chrono::{DateTime, Utc};
use engine::{
    broker::{policies, sampling},
    job::QueueName,
    policy::Policy,
};
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
    policy: Policy,
}

/// Prints a line a queue.
///
/// # Errors
/// When Dragonfly cannot be asked.
pub async fn run(app: &App, json: bool) -> anyhow::Result<()> {
    let client = app.client().await?;
    let now_ms = client.connection().now_ms().await?;
    let mut decided = policies(client.connection(), &client.options().keys).await?;
    let mut lines = Vec::new();
    for (queue, tags) in client.queues().await? {
        let mut line = Line {
            policy: decided.remove(&queue).unwrap_or_default(),
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
        "{:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8} {:>9}  decided",
        "queue", "partitions", "ready", "running", "delayed", "dead", "workers", "oldest"
    );
    for line in lines {
        let Line { queue, partitions, ready, in_flight, later, dead, workers, oldest_s, policy } = line;
        println!(
            "{:<14} {partitions:>10} {ready:>10} {in_flight:>10} {later:>10} {dead:>10} {workers:>8} {oldest_s:>8.1}s  {}",
            queue.as_str(),
            told(policy)
        );
    }
}

/// What is decided about a queue, in words; a dash when nothing is.
pub fn told(policy: &Policy) -> String {
    let mut words = Vec::new();
    if policy.paused {
        let since =
            policy.paused_since_ms.and_then(|ms| DateTime::<Utc>::from_timestamp_millis(i64::try_from(ms).ok()?));
        words.push(
            since.map_or("PAUSED".to_owned(), |since| format!("PAUSED since {}", since.format("%Y-%m-%dT%H:%M:%SZ"))),
        );
    }
    words.extend(policy.closed.then(|| "CLOSED".to_owned()));
    words.extend(policy.max_depth.map(|depth| format!("at most {depth} jobs")));
    words.extend(policy.max_bytes.map(|bytes| format!("at most {bytes} bytes")));
    words.extend(policy.concurrency.map(|n| format!("{n} at once a worker")));
    words.extend(policy.durability.map(|level| level.to_string()));
    if words.is_empty() { "–".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_queue_says_since_when() {
        let policy = Policy {
            paused: true,
            paused_since_ms: Some(1_767_225_600_000),
            concurrency: Some(10),
            ..Policy::default()
        };
        assert_eq!(told(&policy), "PAUSED since 2026-01-01T00:00:00Z, 10 at once a worker");
        assert_eq!(told(&Policy::default()), "–");
    }
}
