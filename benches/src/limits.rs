//! What the servers themselves can do, in the same run: the yardsticks.

use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use engine::keys::{GROUP, JOB_FIELD};
use fred::types::Value;
use uuid::Uuid;

use crate::{
    corner::{self, Corner, command},
    noop,
    samples::per_second,
    wire::{self, Wire},
};

/// Additions on the way at once, and entries a read.
const PIPELINE: usize = 1_000;
const READ: usize = 100;

fn envelopes(n_jobs: usize) -> anyhow::Result<Vec<Bytes>> {
    Ok(noop::submissions(n_jobs, noop::SMALL)?.iter().map(|submission| submission.envelope.write()).collect())
}

fn additions(corner: &Corner, n_jobs: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let stream = format!("{}{{raw}}", corner.keys.prefix());
    let addition = |job: &Bytes| wire::encode(&[b"XADD", stream.as_bytes(), b"*", JOB_FIELD.as_bytes(), job.as_ref()]);
    Ok(envelopes(n_jobs)?.iter().map(addition).collect())
}

/// Additions per second over a bare socket, pipelined.
pub(crate) async fn xadd(corner: &Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let additions = additions(corner, n_jobs)?;
    let mut wire = Wire::connect(&corner.dragonfly_url).await?;
    let begun = Instant::now();
    for some in additions.chunks(PIPELINE) {
        wire.add_all(some).await?;
    }
    Ok(per_second(n_jobs, begun.elapsed()))
}

/// Additions per second over a bare socket, each awaited.
pub(crate) async fn xadd_awaited(corner: &Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let additions = additions(corner, n_jobs)?;
    let mut wire = Wire::connect(&corner.dragonfly_url).await?;
    let begun = Instant::now();
    for addition in &additions {
        wire.add(addition).await?;
    }
    Ok(per_second(n_jobs, begun.elapsed()))
}

/// The whole life of an entry through the plain client: added pipelined, read by 100, acknowledged and deleted
/// by 100. Gives entries per second, and those of its additions alone.
pub(crate) async fn cycle(corner: &Corner, n_jobs: usize) -> anyhow::Result<(f64, f64)> {
    let stream = format!("{}{{cycle}}", corner.keys.prefix());
    let key = || Value::from(stream.as_str());
    let envelopes = envelopes(n_jobs)?;
    command(&corner.plain, "XGROUP", vec!["CREATE".into(), key(), GROUP.into(), "$".into(), "MKSTREAM".into()]).await?;
    let begun = Instant::now();
    for some in envelopes.chunks(PIPELINE) {
        let pipeline = corner.plain.pipeline();
        for job in some {
            command(&pipeline, "XADD", vec![key(), "*".into(), JOB_FIELD.into(), Value::Bytes(job.clone())]).await?;
        }
        pipeline.all::<Vec<Value>>().await?;
    }
    let added = begun.elapsed();
    let mut n_done = 0;
    while n_done < n_jobs {
        n_done += read_and_delete(corner, &stream).await?;
    }
    Ok((per_second(n_jobs, begun.elapsed()), per_second(n_jobs, added)))
}

async fn read_and_delete(corner: &Corner, stream: &str) -> anyhow::Result<usize> {
    let count = i64::try_from(READ)?;
    let read = ["GROUP", GROUP, "c", "COUNT"].map(Value::from).into_iter().chain([count.into()]);
    let read = read.chain(["STREAMS", stream, ">"].map(Value::from)).collect();
    let reply = command(&corner.plain, "XREADGROUP", read).await?;
    let ids = entry_ids(reply);
    ensure!(!ids.is_empty(), "the server gave no entry though some are left");
    let with = |head: &[&str]| head.iter().map(|&word| Value::from(word)).chain(ids.iter().cloned()).collect();
    let pipeline = corner.plain.pipeline();
    command(&pipeline, "XACK", with(&[stream, GROUP])).await?;
    command(&pipeline, "XDEL", with(&[stream])).await?;
    pipeline.all::<Vec<Value>>().await?;
    Ok(ids.len())
}

/// The ids in `[[stream, [[id, fields], …]]]`.
fn entry_ids(reply: Value) -> Vec<Value> {
    let inner = |value: Value, place: usize| value.into_array().into_iter().nth(place).unwrap_or(Value::Null);
    inner(inner(reply, 0), 1).into_array().into_iter().map(|entry| inner(entry, 0)).collect()
}

/// Rows a statement.
const ROWS: usize = 500;

const INSERT: &str = "insert into bench_rows select * from unnest($1::uuid[], $2::text[], $3::jsonb[])";

/// Rows per second into `bench_rows`, 500 a transaction, over one connection; nothing else is done.
pub(crate) async fn unnest(corner: &mut Corner, n_jobs: usize) -> anyhow::Result<f64> {
    let pad = "x".repeat(corner::PAD);
    let begun = Instant::now();
    for first in (0..n_jobs).step_by(ROWS) {
        let n_rows = ROWS.min(n_jobs - first);
        let results = (first..first + n_rows).map(|n| serde_json::json!({ "n": n, "pad": pad }));
        let insert = sqlx::query(INSERT)
            .bind((0..n_rows).map(|_| Uuid::now_v7()).collect::<Vec<_>>())
            .bind(vec!["bench.noop"; n_rows])
            .bind(results.collect::<Vec<_>>());
        insert.execute(&mut corner.postgres).await?;
    }
    let rate = per_second(n_jobs, begun.elapsed());
    corner.verify_rows(n_jobs).await?;
    Ok(rate)
}
