//! The fleet's list of queues and their partitions.

use std::collections::BTreeMap;

use super::{
    connection::{BrokerError, Connection, text},
    reply,
    script::Script,
};
use crate::{job::QueueName, keys::Keys, partition::Tag};

static REGISTER: Script = Script::new("register", include_str!("register.lua"));

/// The tags of every queue.
pub type QueueTags = BTreeMap<QueueName, Vec<Tag>>;

/// Tells the fleet that `queue` shall have at least these partitions; gives the ones it has.
///
/// # Errors
/// When the server cannot be asked.
pub async fn register(
    connection: &Connection,
    keys: &Keys,
    queue: &QueueName,
    wanted: &[Tag],
) -> Result<Vec<Tag>, BrokerError> {
    let mut args = vec![text(queue.as_str())];
    args.extend(wanted.iter().map(|tag| text(tag.as_str())));
    let tags = REGISTER.run(connection, &[&keys.queues()], args).await?;
    Ok(parse(&reply::text(&tags).ok_or_else(|| BrokerError::odd("register", &tags))?))
}

/// Every queue that a worker has registered, with its partitions.
///
/// # Errors
/// When the server cannot be asked.
pub async fn registered(connection: &Connection, keys: &Keys) -> Result<QueueTags, BrokerError> {
    let queues = connection.call("HGETALL", vec![text(keys.queues())]).await?;
    let named = reply::pairs(&queues).into_iter();
    Ok(named.filter_map(|(queue, tags)| Some((queue.parse().ok()?, parse(&tags)))).collect())
}

fn parse(tags: &str) -> Vec<Tag> {
    tags.split_whitespace().filter_map(Tag::parse).collect()
}
