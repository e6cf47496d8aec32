//! What operators decided about queues, where producers and scripts find it: the fleet's copy and each partition's.

use std::collections::BTreeMap;

use super::{
    connection::{BrokerError, Connection, text},
    reply,
    script::Script,
};
use crate::{
    job::QueueName,
    keys::{Keys, PartitionKeys},
    partition::Tag,
    policy::Policy,
};

static GOVERN: Script = Script::new("govern", include_str!("govern.lua"));

/// Writes a queue's policy into each of its partitions, then into the fleet's list; gives whether anything changed.
///
/// # Errors
/// When the server cannot be asked, or its memory is too full for a new limit.
pub async fn govern(
    connection: &Connection,
    keys: &Keys,
    (queue, tags): (&QueueName, &[Tag]),
    policy: &Policy,
) -> Result<bool, BrokerError> {
    let mut n_changed = 0;
    for tag in tags {
        n_changed += govern_partition(connection, &keys.partition(tag), policy, tags.len()).await?;
    }
    let json = serde_json::to_string(policy).expect("flags and numbers encode");
    let known = connection.call("HGET", vec![text(keys.policies()), text(queue.as_str())]).await?;
    if reply::text(&known).as_deref() != Some(&json) {
        connection.call("HSET", vec![text(keys.policies()), text(queue.as_str()), text(json)]).await?;
        n_changed += 1;
    }
    Ok(n_changed > 0)
}

async fn govern_partition(
    connection: &Connection,
    keys: &PartitionKeys,
    policy: &Policy,
    n_partitions: usize,
) -> Result<i64, BrokerError> {
    let (max_depth, max_bytes) = policy.share(n_partitions);
    let flag = |is: bool| if is { "1".to_owned() } else { String::new() };
    let number = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let fields = [
        ("paused", flag(policy.paused)),
        ("closed", flag(policy.closed)),
        ("max_depth", number(max_depth)),
        ("max_bytes", number(max_bytes)),
    ];
    let args = fields.into_iter().flat_map(|(field, value)| [text(field), text(value)]).collect();
    let changed = GOVERN.run(connection, &[&keys.control], args).await?;
    reply::integer(&changed).ok_or_else(|| BrokerError::odd("govern", &changed))
}

/// Every queue's policy, as the fleet knows it; one that cannot be read counts as none.
///
/// # Errors
/// When the server cannot be asked.
pub async fn policies(connection: &Connection, keys: &Keys) -> Result<BTreeMap<QueueName, Policy>, BrokerError> {
    let all = connection.call("HGETALL", vec![text(keys.policies())]).await?;
    let named = reply::pairs(&all).into_iter();
    Ok(named.filter_map(|(queue, json)| Some((queue.parse().ok()?, serde_json::from_str(&json).ok()?))).collect())
}
