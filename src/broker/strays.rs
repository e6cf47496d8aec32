//! Finds deliveries that the server made and we never saw: their reply was lost with a connection.

use std::time::Duration;

use super::{
    MAX_PER_SCRIPT,
    connection::{BrokerError, text},
    partition::{EntryId, Partition},
    release::Held,
    reply,
    script::Script,
};
use crate::{job::Priority, keys::GROUP};

static STRAYS: Script = Script::new("strays", include_str!("strays.lua"));

impl Partition {
    /// Everything that the server believes `consumer` has held for at least `idle`.
    ///
    /// # Errors
    /// When the server cannot be asked, or `NoGroup`.
    pub async fn strays(&self, consumer: &str, idle: Duration) -> Result<Vec<Held>, BrokerError> {
        let mut all = Vec::new();
        let mut from = ["-", "-", "-"].map(str::to_owned);
        while from.iter().any(|id| !id.is_empty()) {
            let idle_ms = idle.as_millis().to_string();
            let mut args = [GROUP, consumer, &idle_ms].map(text).to_vec();
            args.extend(from.iter().map(text));
            let listed = STRAYS.run(&self.commands, &self.lane_keys(), args).await?;
            let page: Vec<Held> = reply::array(&listed).iter().filter_map(held).collect();
            from = Priority::ALL.map(|lane| next_page(&page, lane));
            all.extend(page);
        }
        Ok(all)
    }
}

fn held(value: &fred::types::Value) -> Option<Held> {
    let [lane, id] = reply::array(value) else { return None };
    let lane = u8::try_from(reply::integer(lane)?).ok()?;
    Some(Held { priority: Priority::from_lane(lane), entry: EntryId(reply::bytes(id)?) })
}

/// Where a lane's next page begins: after the last id of a full page, nowhere after the last page.
fn next_page(page: &[Held], lane: Priority) -> String {
    let of_lane: Vec<&Held> = page.iter().filter(|held| held.priority == lane).collect();
    match of_lane.last() {
        Some(last) if of_lane.len() >= MAX_PER_SCRIPT => after(&last.entry),
        _ => String::new(),
    }
}

/// The smallest id greater than `entry`.
fn after(entry: &EntryId) -> String {
    let (ms, number) = entry.as_str().split_once('-').unwrap_or((entry.as_str(), "0"));
    format!("{ms}-{}", number.parse::<u64>().unwrap_or_default() + 1)
}
