//! What was measured on: machine, servers, flags. A figure without them means nothing.

use std::fmt::Write as _;

use anyhow::Context as _;
use engine::broker::{Address, Connection, ServerVersion};
use sqlx::{Connection as _, PgConnection};

use crate::{corner::Servers, peers::Peers, plan::Plan, process};

const FLAGS: [&str; 5] = ["server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size"];

/// A few lines of text.
pub(crate) async fn describe(servers: &Servers, plan: &Plan, peers: &Peers) -> anyhow::Result<String> {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let mut text = format!("host      {n_cores} cores, {}, Linux {}, load {load} at the end\n", cpu(), kernel.trim());
    let connection = Connection::open(&Address::parse(&servers.dragonfly_url, None)?).await?;
    let version = ServerVersion::of(&connection).await?;
    writeln!(text, "broker    {} {}", version.product, version.version)?;
    connection.close().await;
    let mut postgres = PgConnection::connect(&servers.database_url).await.context("connect to Postgres")?;
    let query = sqlx::query_scalar("select to_char(now(), 'YYYY-MM-DD')");
    let date: String = query.fetch_one(&mut postgres).await?;
    text.push_str("postgres ");
    for flag in FLAGS {
        let query = sqlx::query_scalar("select current_setting($1)").bind(flag);
        let value: String = query.fetch_one(&mut postgres).await?;
        write!(text, " {flag}={value}")?;
    }
    let profile = if cfg!(debug_assertions) { "debug" } else { "optimised" };
    let (Plan { name, n_rounds, n_jobs, .. }, n_at_once) = (plan, process::many());
    write!(
        text,
        "\nplan      {name}: {n_rounds} rounds of {n_jobs} jobs, envelopes of about 200 bytes, drains {n_at_once} at once, {profile} build, {date}"
    )?;
    for line in peers.lines(plan) {
        write!(text, "\npeer      {line}")?;
    }
    Ok(text)
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}
