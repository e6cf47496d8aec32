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

/// A delivery that the server believes a consumer holds.
#[derive(Clone, Debug)]
pub struct Stray {
    /// Which.
    pub held: Held,
    /// For how long it has held it already.
    pub idle: Duration,
}

impl Partition {
    /// Everything that the server believes `consumer` has held for at least `idle`.
    ///
    /// # Errors
    /// When the server cannot be asked, or `NoGroup`.
    pub async fn strays(&self, consumer: &str, idle: Duration) -> Result<Vec<Stray>, BrokerError> {
        let mut all = Vec::new();
        let mut from = ["-", "-", "-"].map(str::to_owned);
        while from.iter().any(|id| !id.is_empty()) {
            let idle_ms = idle.as_millis().to_string();
            let mut args = [GROUP, consumer, &idle_ms].map(text).to_vec();
            args.extend(from.iter().map(text));
            let listed = STRAYS.run(&self.commands, &self.lane_keys(), args).await?;
            let page: Vec<Stray> = reply::array(&listed).iter().filter_map(stray).collect();
            from = Priority::ALL.map(|lane| next_page(&page, lane));
            all.extend(page);
        }
        Ok(all)
    }
}

fn stray(value: &fred::types::Value) -> Option<Stray> {
    let [lane, id, idle_ms] = reply::array(value) else { return None };
    let lane = u8::try_from(reply::integer(lane)?).ok()?;
    let held = Held { priority: Priority::from_lane(lane), entry: EntryId(reply::bytes(id)?) };
    Some(Stray { held, idle: Duration::from_millis(u64::try_from(reply::integer(idle_ms)?).unwrap_or_default()) })
}

/// Where a lane's next page begins: after the last id of a full page, nowhere after the last page.
fn next_page(page: &[Stray], lane: Priority) -> String {
    let of_lane: Vec<&Held> = page.iter().map(|stray| &stray.held).filter(|held| held.priority == lane).collect();
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
