//! Looks at jobs where they stand, without touching them: delayed ones, entries of a stream, who holds which.

use bytes::Bytes;
use fred::types::Value;

use super::{
    BrokerErrorKind,
    connection::{BrokerError, Connection, text},
    partition::{Deaths, Entry, EntryId},
    reply,
};
use crate::{
    job::{JobId, Priority},
    keys::{GROUP, PartitionKeys},
};

/// Entries a page.
pub const PAGE: usize = 500;

/// A delayed or retrying job.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// Which job.
    pub id: JobId,
    /// When it is due, milliseconds since 1970 by the server's clock.
    pub due_ms: u64,
    /// Which stream it enters then.
    pub priority: Priority,
    /// Its envelope.
    pub envelope: Bytes,
}

/// Who holds an entry.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Which entry.
    pub entry: EntryId,
    /// Whose it is; [`crate::keys::RELEASED`] when it was handed back.
    pub consumer: String,
    /// How long ago it was handed out, milliseconds.
    pub idle_ms: u64,
    /// How often it was handed out.
    pub n_deliveries: u32,
}

/// The delayed job of this id.
///
/// # Errors
/// When the server cannot be asked.
pub async fn delayed(connection: &Connection, keys: &PartitionKeys, id: JobId) -> Result<Option<Delayed>, BrokerError> {
    let due = connection.call("ZSCORE", vec![text(&*keys.later), text(id.to_string())]).await?;
    let Some(due_ms) = number(&due) else { return Ok(None) };
    let job = connection.call("HGET", vec![text(&*keys.later_jobs), text(id.to_string())]).await?;
    Ok(reply::bytes(&job).and_then(|job| delayed_job(id, due_ms, &job)))
}

/// Delayed jobs, the earliest first, from the `from`th on, at most a page.
///
/// # Errors
/// When the server cannot be asked.
pub async fn delayed_page(
    connection: &Connection,
    keys: &PartitionKeys,
    (from, limit): (usize, usize),
) -> Result<Vec<Delayed>, BrokerError> {
    let last = from + limit.clamp(1, PAGE) - 1;
    let range = [keys.later.clone(), from.to_string(), last.to_string(), "WITHSCORES".to_owned()].map(text);
    let ranked = ranked(&connection.call("ZRANGE", range.to_vec()).await?);
    if ranked.is_empty() {
        return Ok(Vec::new());
    }
    let mut ask = vec![text(&*keys.later_jobs)];
    ask.extend(ranked.iter().map(|(id, _)| text(id.to_string())));
    let jobs = connection.call("HMGET", ask).await?;
    let jobs = reply::array(&jobs).iter().map(reply::bytes);
    Ok(ranked.into_iter().zip(jobs).filter_map(|((id, due_ms), job)| delayed_job(id, due_ms, &job?)).collect())
}

/// Members and scores: flat in one protocol, in pairs in the other.
fn ranked(reply: &Value) -> Vec<(JobId, u64)> {
    let elements = reply::array(reply);
    let flat: Vec<&Value> = match elements.first() {
        Some(Value::Array(_)) => elements.iter().flat_map(reply::array).collect(),
        _ => elements.iter().collect(),
    };
    let pairs = flat.chunks_exact(2);
    pairs.filter_map(|pair| Some((reply::text(pair[0])?.parse().ok()?, number(pair[1])?))).collect()
}

fn delayed_job(id: JobId, due_ms: u64, job: &Bytes) -> Option<Delayed> {
    let lane = job.first()?.checked_sub(b'0')?;
    Some(Delayed { id, due_ms, priority: Priority::from_lane(lane), envelope: job.slice(1..) })
}

/// Entries of a stream from `from` to `to` (ids, `(` in front excludes one), at most a page, the oldest first.
///
/// # Errors
/// When the server cannot be asked.
pub async fn entries(
    connection: &Connection,
    (keys, priority): (&PartitionKeys, Priority),
    (from, to): (&str, &str),
    limit: usize,
) -> Result<Vec<Entry>, BrokerError> {
    let count = limit.clamp(1, PAGE).to_string();
    let found = connection.call("XRANGE", [keys.lane(priority), from, to, "COUNT", &count].map(text).to_vec()).await?;
    let entry = |value: &Value| {
        let [id, fields] = reply::array(value) else { return None };
        Some(Entry::of_fields(priority, id, fields, Deaths::default()))
    };
    Ok(reply::array(&found).iter().filter_map(entry).collect())
}

/// Who holds the entries from `from` to `to`, at most a page, the oldest first; nobody where no worker has been yet.
///
/// # Errors
/// When the server cannot be asked.
pub async fn holds(
    connection: &Connection,
    (keys, priority): (&PartitionKeys, Priority),
    (from, to): (&str, &str),
    limit: usize,
) -> Result<Vec<Hold>, BrokerError> {
    let count = limit.clamp(1, PAGE).to_string();
    let ask = [keys.lane(priority), GROUP, from, to, &count].map(text).to_vec();
    match connection.call("XPENDING", ask).await {
        Ok(pending) => Ok(reply::array(&pending).iter().filter_map(hold).collect()),
        Err(error) if error.kind() == BrokerErrorKind::NoGroup => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn hold(value: &Value) -> Option<Hold> {
    let [entry, consumer, idle, deliveries] = reply::array(value) else { return None };
    Some(Hold {
        entry: EntryId(reply::bytes(entry)?),
        consumer: reply::text(consumer)?,
        idle_ms: number(idle)?,
        n_deliveries: u32::try_from(reply::integer(deliveries)?).ok()?,
    })
}

/// The last entry of a stream that was handed out; the beginning where no worker has been yet.
///
/// # Errors
/// When the server cannot be asked.
pub async fn last_delivered(
    connection: &Connection,
    (keys, priority): (&PartitionKeys, Priority),
) -> Result<String, BrokerError> {
    let groups = match connection.call("XINFO", vec![text("GROUPS"), text(keys.lane(priority))]).await {
        Ok(groups) => groups,
        Err(error) if error.kind() == BrokerErrorKind::NoGroup => return Ok("0-0".to_owned()),
        Err(error) => return Err(error),
    };
    let ours = reply::array(&groups).iter().map(fields).find(|fields| value(fields, "name") == Some(GROUP));
    Ok(ours.as_ref().and_then(|fields| value(fields, "last-delivered-id")).unwrap_or("0-0").to_owned())
}

fn fields(group: &Value) -> Vec<(String, String)> {
    match group {
        // Some values are nil: they are not asked for, and must not shift the pairs.
        Value::Array(flat) => {
            let pair = |pair: &[Value]| Some((reply::text(&pair[0])?, reply::text(&pair[1])?));
            flat.chunks_exact(2).filter_map(pair).collect()
        }
        map => reply::pairs(map),
    }
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

fn number(value: &Value) -> Option<u64> {
    reply::integer(value).and_then(|n| u64::try_from(n).ok())
}
