//! One partition as a worker sees it: its keys, and two connections of its own.
//!
//! One connection blocks in reads, the other runs scripts; Dragonfly moves the latter to the thread that
//! the partition lives on, so neither is shared with another partition.

use bytes::Bytes;
use fred::types::Value;

use super::{
    connection::{Address, BrokerError, Connection},
    release::Held,
    reply,
    take::Gave,
};
use crate::{
    job::{JobId, Priority, QueueName},
    keys::{self, Keys, PartitionKeys},
    partition::Tag,
};

/// A partition of a queue, connected.
pub struct Partition {
    /// Whose partition it is.
    pub queue: QueueName,
    /// Its hash tag.
    pub tag: Tag,
    /// Its keys.
    pub keys: PartitionKeys,
    pub(super) gave: Gave,
    pub(super) commands: Connection,
    pub(super) reader: Connection,
}

impl Partition {
    /// Connects to a partition and makes sure that its groups exist.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn open(address: &Address, keys: &Keys, queue: QueueName, tag: Tag) -> Result<Self, BrokerError> {
        let single = address.with_pool(1);
        let (commands, reader) = tokio::try_join!(Connection::open(&single), Connection::open(&single))?;
        let partition = Self { queue, keys: keys.partition(&tag), tag, gave: Gave::default(), commands, reader };
        partition.create_groups().await?;
        Ok(partition)
    }

    /// Closes both connections.
    pub async fn close(&self) {
        tokio::join!(self.commands.close(), self.reader.close());
    }

    pub(super) fn lane_keys(&self) -> [&str; 3] {
        Priority::ALL.map(|priority| self.keys.lane(priority))
    }
}

/// The id of a stream entry, `<ms>-<number>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub Bytes);

impl EntryId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// When the entry was added, milliseconds since 1970 by the server's clock.
    pub fn ms(&self) -> u64 {
        self.place().0
    }

    /// Its place in its stream: entries are in the order of these two numbers, not of the text.
    pub fn place(&self) -> (u64, u64) {
        let mut numbers = self.as_str().split('-').map(|number| number.parse().unwrap_or_default());
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }
}

/// An entry handed to a consumer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which of the three streams it came from.
    pub priority: Priority,
    /// Its id.
    pub id: EntryId,
    /// The value of its field `job`, if it has one.
    pub job: Option<Bytes>,
    /// All its fields and values, one after the other, where none of them is `job`.
    pub fields: Vec<Bytes>,
    /// How often workers died that held it.
    pub deaths: Deaths,
}

/// How often workers died that held an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    /// Beside others: any of them may have been the cause.
    pub in_company: u32,
    /// While it ran alone.
    pub alone: u32,
}

impl Deaths {
    /// All of them.
    pub fn total(self) -> u32 {
        self.in_company + self.alone
    }

    /// Reads `<in company> <alone>`.
    fn read(text: &[u8]) -> Option<Self> {
        let (in_company, alone) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self { in_company: in_company.parse().ok()?, alone: alone.parse().ok()? })
    }
}

impl Entry {
    /// Reads `{lane, id, {field, value, …}, deaths or nothing}`.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let parts = reply::array(value);
        let lane = u8::try_from(reply::integer(parts.first()?)?).ok()?;
        let deaths = parts.get(3).and_then(reply::bytes).and_then(|text| Deaths::read(&text));
        Some(Self::of_fields(Priority::from_lane(lane), parts.get(1)?, parts.get(2)?, deaths.unwrap_or_default()))
    }

    /// A deleted entry has no fields: Redis says nil, Dragonfly an empty list.
    pub(super) fn of_fields(priority: Priority, id: &Value, fields: &Value, deaths: Deaths) -> Self {
        let fields = reply::array(fields);
        let is_job = |name: &Value| name.as_bytes().is_some_and(|name| name == keys::JOB_FIELD.as_bytes());
        let job = fields.chunks_exact(2).find(|pair| is_job(&pair[0])).and_then(|pair| reply::bytes(&pair[1]));
        let fields = if job.is_none() { fields.iter().filter_map(reply::bytes).collect() } else { Vec::new() };
        Self { priority, id: EntryId(reply::bytes(id).unwrap_or_default()), job, fields, deaths }
    }

    /// The entry as something that is held.
    pub fn into_held(self) -> Held {
        Held { priority: self.priority, entry: self.id }
    }

    /// The id that a job gets whose envelope names none: the same at every delivery.
    pub fn derived_job_id(&self, stream: &str) -> JobId {
        JobId::derived(self.id.ms(), format!("{stream}/{}", self.id.as_str()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_entry_reads_the_same_from_every_server() {
        let id = Value::from("17-0");
        for fields in [Value::Null, Value::Array(Vec::new())] {
            let entry = Entry::of_fields(Priority::High, &id, &fields, Deaths::default());
            assert_eq!((entry.job, entry.fields.len(), entry.id.ms()), (None, 0, 17));
        }
    }

    #[test]
    fn what_a_script_hands_over_reads_the_same_from_every_server() {
        for lane in [Value::Integer(2), Value::Double(2.0), Value::from("2")] {
            let fields = Value::Array(vec![Value::from("job"), Value::from("x")]);
            let entry = Entry::read(&Value::Array(vec![lane, Value::from("17-0"), fields, Value::from("2 1")]));
            let entry = entry.expect("an entry");
            assert_eq!((entry.priority, entry.job), (Priority::Normal, Some(Bytes::from("x"))));
            assert_eq!((entry.deaths.in_company, entry.deaths.alone, entry.deaths.total()), (2, 1, 3));
        }
    }

    #[test]
    fn entries_are_ordered_by_number_not_by_text() {
        let place = |id: &'static str| EntryId(Bytes::from_static(id.as_bytes())).place();
        assert!(place("999-10") > place("999-9") && place("1000-0") > place("999-10"));
        assert_eq!(place("no id"), (0, 0));
    }
}
