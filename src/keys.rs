//! Every key and channel of the service, built here and nowhere else.
//!
//! Promise: all keys of a partition share one hash tag, so that one script may touch them all, on one
//! Dragonfly thread and in one cluster slot.

use crate::{
    job::{JobId, Kind, Priority, QueueName},
    partition::Tag,
};

/// The consumer group of every job stream.
pub const GROUP: &str = "workers";

/// The consumer that holds deliveries handed back unstarted. It never beats, so anyone claims its entries at once.
pub const RELEASED: &str = "released";

/// The one field of a stream entry; its value is the envelope.
pub const JOB_FIELD: &str = "job";

/// The field of a `done` entry: an array of completions.
pub const BATCH_FIELD: &str = "batch";

/// The field of a `dead` entry: a dead letter.
pub const LETTER_FIELD: &str = "letter";

/// One key or channel, as it is documented: name, type, what it holds, how it ends.
pub type Documented = (&'static str, &'static str, &'static str, &'static str);

/// Every key and channel of the service; `{t}` is a partition's hash tag, such as `{search~0}`.
pub const KEYS: &[Documented] = &[
    ("tripsage:queues", "hash", "queue → the tags of its partitions, separated by spaces", "stays"),
    ("tripsage:policies", "hash", "queue → what an operator decided about it, JSON; the truth is in Postgres", "stays"),
    ("tripsage:generation", "hash", "`nonce`, by which a server is known that kept its memory", "stays"),
    ("tripsage:{t}:high", "stream, group `workers`", "ready jobs that go first", ENTRIES),
    ("tripsage:{t}:normal", "stream, group `workers`", "ready jobs", ENTRIES),
    ("tripsage:{t}:low", "stream, group `workers`", "ready jobs that go last", ENTRIES),
    (
        "tripsage:{t}:later",
        "zset",
        "delayed and retrying jobs: id → due time, ms of the server's clock",
        "entries go when due",
    ),
    (
        "tripsage:{t}:later:jobs",
        "hash",
        "the envelopes of those jobs, a digit for the stream in front",
        "fields go when due",
    ),
    (
        "tripsage:{t}:live",
        "zset",
        "worker → last heartbeat, ms of the server's clock",
        "entries go when the worker leaves, or once it is dead and holds nothing",
    ),
    (
        "tripsage:{t}:crashes",
        "hash",
        "lane and entry id → how often its worker died",
        "fields go when the job is settled",
    ),
    (
        "tripsage:{t}:dead",
        "stream",
        "dead letters; `dead_jobs` in Postgres mirrors them",
        "entries go by redrive or purge alone",
    ),
    ("tripsage:{t}:done", "stream", "arrays of completions, for replay", "bounded by time"),
    (
        "tripsage:{t}:control",
        "hash",
        "`seq`, the number of the partition's last completion; what scripts need of the queue's policy: `paused`, `closed`, `max_depth`, `max_bytes`; what was measured for it: `bytes`, `rate`; `format` of completions; `listed`, when the partition's consumers were last listed",
        "stays",
    ),
    (
        "tripsage:{t}:dedup:<key>",
        "string",
        "the job that has this dedup key, a space, and where it was put",
        "expires after its window; goes sooner when its job is settled",
    ),
    ("tripsage:{t}:progress:<id>", "string", "how far a running job has come, JSON", "expires"),
    ("tripsage:{name}:cache", "string", "a cache entry", "expires"),
    ("tripsage:{name}:refresh", "string", "who refreshes that entry now", "expires"),
    ("tripsage:done:<queue>", "channel", "completions of a queue", "–"),
    ("tripsage:done:kind:<kind>", "channel", "completions of a kind", "–"),
    ("tripsage:done:job:<id>", "channel", "the completion of a job that asked: `notify: [\"job\"]`", "–"),
    ("tripsage:done:user:<user>", "channel", "completions of a user's jobs that asked: `notify: [\"user\"]`", "–"),
    ("tripsage:done:reply:<name>", "channel", "completions of jobs that asked: `notify: [\"reply:<name>\"]`", "–"),
    ("tripsage:progress:<id>", "channel", "how far a running job has come, JSON", "–"),
    (
        "tripsage:control",
        "channel",
        "words between workers, JSON: goodbye; due, where a delayed job has become the earliest; policies, when an operator has decided; cancel",
        "–",
    ),
];

const ENTRIES: &str = "never trimmed; an entry goes in the step that acknowledges it";

/// The README's table of keys and channels.
pub fn markdown_table() -> String {
    let mut table = String::from("| key or channel | type | holds | how it ends |\n|---|---|---|---|\n");
    for (name, kind, holds, ends) in KEYS {
        table.push_str(&format!("| `{name}` | {kind} | {holds} | {ends} |\n"));
    }
    table
}

/// Builds names under one prefix; tests isolate themselves by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys that begin with `prefix`, which ends in a separator (`tripsage:`).
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// hash: queue → its partitions' tags, separated by spaces. Written by workers at start, never deleted.
    pub fn queues(&self) -> String {
        format!("{}queues", self.prefix)
    }

    /// hash: queue → its policy, JSON. Written from Postgres, never the truth itself.
    pub fn policies(&self) -> String {
        format!("{}policies", self.prefix)
    }

    /// hash: `nonce`, which a server that lost its memory does not have.
    pub fn generation(&self) -> String {
        format!("{}generation", self.prefix)
    }

    /// string, expires: how far a running job has come.
    pub fn progress(&self, tag: &Tag, id: JobId) -> String {
        format!("{}{{{tag}}}:progress:{id}", self.prefix)
    }

    /// What every channel of completions begins with.
    pub fn done_prefix(&self) -> String {
        format!("{}done:", self.prefix)
    }

    /// channel: completions of a queue, arrays.
    pub fn done_channel(&self, queue: &QueueName) -> String {
        format!("{}done:{queue}", self.prefix)
    }

    /// channel: completions of a kind, arrays.
    pub fn kind_channel(&self, kind: &Kind) -> String {
        format!("{}done:kind:{kind}", self.prefix)
    }

    /// channel: the completion of one job that asked for it with `notify: ["job"]`.
    pub fn job_channel(&self, id: JobId) -> String {
        format!("{}done:job:{id}", self.prefix)
    }

    /// channel: completions of a user's jobs that asked for it with `notify: ["user"]`.
    pub fn user_channel(&self, user: &str) -> String {
        format!("{}done:user:{user}", self.prefix)
    }

    /// channel: completions of jobs that asked for it with `notify: ["reply:<name>"]`.
    pub fn reply_channel(&self, name: &str) -> String {
        format!("{}done:reply:{name}", self.prefix)
    }

    /// channel: how far a running job has come, JSON objects.
    pub fn progress_channel(&self, id: JobId) -> String {
        format!("{}progress:{id}", self.prefix)
    }

    /// channel: goodbyes and other words between workers, JSON.
    pub fn control_channel(&self) -> String {
        format!("{}control", self.prefix)
    }

    /// The keys of one partition.
    pub fn partition(&self, tag: &Tag) -> PartitionKeys {
        let key = |name: &str| format!("{}{{{tag}}}:{name}", self.prefix);
        PartitionKeys {
            lanes: Priority::ALL.map(|priority| key(priority.as_str())),
            later: key("later"),
            later_jobs: key("later:jobs"),
            live: key("live"),
            crashes: key("crashes"),
            dead: key("dead"),
            done: key("done"),
            control: key("control"),
            words: self.control_channel(),
            due_word: format!("{{\"word\":\"due\",\"partition\":\"{tag}\"}}"),
        }
    }

    /// The keys of one cache entry: the value, and the lock that lets one of the fleet refresh it.
    ///
    /// string, expires at its hard expiry; string, expires by itself. `name` is the canonical name
    /// `namespace:entity_type:operation_type:params_hash`.
    pub fn cache(&self, name: &str) -> CacheKeys {
        CacheKeys {
            value: format!("{}{{{name}}}:cache", self.prefix),
            refresh: format!("{}{{{name}}}:refresh", self.prefix),
        }
    }
}

/// The keys of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionKeys {
    /// streams, group `workers`: ready jobs, high, normal, low. Never trimmed; an entry is deleted by the step that acknowledges it.
    pub lanes: [String; 3],
    /// zset: job id → due time in ms of the server's clock. Deleted by `promote`.
    pub later: String,
    /// hash: job id → lane digit and envelope bytes of a delayed job. Deleted by `promote`.
    pub later_jobs: String,
    /// zset: consumer → last heartbeat in ms of the server's clock. A dead consumer's is deleted by `reclaim`.
    pub live: String,
    /// hash: lane and entry id → 1000 for each worker that died with it in company, 1 while it runs alone. Deleted by `settle`.
    pub crashes: String,
    /// stream: dead letters. Deleted by redrive and purge alone.
    pub dead: String,
    /// stream: arrays of completions for replay, bounded by time.
    pub done: String,
    /// hash: the sequence number of the last completion; since when every heart could be recorded, in ms of the server's clock.
    pub control: String,
    /// channel: words between workers, the same for all partitions.
    pub words: String,
    /// What is said there when a job becomes the earliest of those that wait: [`crate::listener::Word::Due`] in JSON.
    pub due_word: String,
}

impl PartitionKeys {
    /// string, expires: which job has this dedup key, and where it was put. Freed by `settle` for that job alone.
    pub fn dedup(&self, key: &str) -> String {
        format!("{}{key}", self.dedup_prefix())
    }

    /// What the partition's dedup keys begin with.
    pub fn dedup_prefix(&self) -> String {
        let partition = self.control.strip_suffix("control").expect("the name of every key ends it");
        format!("{partition}dedup:")
    }

    /// The stream of a priority.
    pub fn lane(&self, priority: Priority) -> &str {
        &self.lanes[usize::from(priority.lane()) - 1]
    }
}

/// The keys of one cache entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKeys {
    /// string: the sealed entry.
    pub value: String,
    /// string: who refreshes it now.
    pub refresh: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_partition_share_its_tag() {
        let tag = Tag::parse("search~0").expect("a tag");
        let keys = Keys::new("tripsage:").partition(&tag);
        assert_eq!(keys.lane(Priority::Normal), "tripsage:{search~0}:normal");
        let others = [&keys.later, &keys.later_jobs, &keys.live, &keys.crashes, &keys.dead, &keys.done, &keys.control];
        assert!(keys.lanes.iter().chain(others).all(|key| key.starts_with("tripsage:{search~0}:")));
    }
    #[test]
    fn every_key_and_channel_is_documented_and_no_other() {
        let keys = Keys::new("tripsage:");
        let tag = Tag::parse("t").expect("a tag");
        let partition = keys.partition(&tag);
        let cache = keys.cache("name");
        let id = JobId(uuid::Uuid::nil());
        let queue = QueueName::from_static("queue");
        let kind = Kind::from_static("kind");
        let partition_dedup = partition.dedup("<key>");
        let [high, normal, low] = partition.lanes;
        let built = [
            keys.queues(),
            keys.policies(),
            keys.generation(),
            high,
            normal,
            low,
            partition.later,
            partition.later_jobs,
            partition.live,
            partition.crashes,
            partition.dead,
            partition.done,
            partition.control,
            partition_dedup,
            keys.progress(&tag, id).replace(&id.to_string(), "<id>"),
            cache.value,
            cache.refresh,
            keys.done_channel(&queue).replace("queue", "<queue>"),
            keys.kind_channel(&kind).replace(":kind:kind", ":kind:<kind>"),
            keys.job_channel(id).replace(&id.to_string(), "<id>"),
            keys.user_channel("<user>"),
            keys.reply_channel("<name>"),
            keys.progress_channel(id).replace(&id.to_string(), "<id>"),
            keys.control_channel(),
        ];
        assert_eq!(built.to_vec(), KEYS.iter().map(|(name, ..)| (*name).to_owned()).collect::<Vec<_>>());
    }
}
