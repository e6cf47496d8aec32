//! Partitions: the hash tags that a queue's keys are spread over.
//!
//! One stream lives on one Dragonfly thread. Dragonfly places a tag at
//! `XXH64(tag, seed 120577240643) mod shards`, so a tag's suffix is chosen to put partition
//! `i` as many threads after partition 0 as its number says. Promise: the tags of a queue depend on
//! nothing but its name, the partition's number and the number of threads; partition 0 is always
//! `<queue>~0`, so that a producer that knows no more can still submit.

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};
use twox_hash::XxHash64;

use crate::job::QueueName;

/// Dragonfly's seed for placing keys (its sources, `core/` `HashSlot` and shard placement).
const DRAGONFLY_SEED: u64 = 120_577_240_643;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A partition's hash tag, such as `search~0`; in a key it stands between braces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag as it is written in the registry of queues; none when it could not stand in a key.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '~' || c == '_';
        (!text.is_empty() && text.chars().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The tag without braces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The Dragonfly thread, of `threads`, that keys with this tag live on.
    pub fn shard(&self, threads: u16) -> u16 {
        shard(&self.0, threads)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tags of the first `n_partitions` partitions, spread evenly over `threads` server threads.
pub fn tags(queue: &QueueName, n_partitions: u16, threads: u16) -> Vec<Tag> {
    let threads = threads.max(1);
    let first = shard(&format!("{queue}~0"), threads);
    (0..n_partitions.max(1))
        .map(|number| placed(queue, number, (first + number % threads) % threads, threads))
        .collect()
}

/// The place, among `n` partitions, of jobs with a dedup key: the same key always meets itself.
///
/// It is the key's CRC-32 (as in zlib, PNG and every language's library) modulo `n`, so that producers in other
/// languages find it too.
pub fn of_key(key: &str, n: usize) -> usize {
    if n < 2 {
        return 0;
    }
    usize::try_from(CRC.checksum(key.as_bytes())).expect("32 bits fit") % n
}

fn placed(queue: &QueueName, number: u16, wanted: u16, threads: u16) -> Tag {
    let plain = format!("{queue}~{number}");
    if number == 0 || shard(&plain, threads) == wanted {
        return Tag(plain);
    }
    let mut suffixed = (0_u32..).map(|suffix| format!("{plain}x{suffix}"));
    let found = suffixed.find(|tag| shard(tag, threads) == wanted);
    Tag(found.expect("an even hash reaches every one of at most 1024 shards within its range"))
}

fn shard(tag: &str, threads: u16) -> u16 {
    let hash = XxHash64::oneshot(DRAGONFLY_SEED, tag.as_bytes());
    u16::try_from(hash % u64::from(threads.max(1))).expect("a remainder of a u16 is a u16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SEARCH: QueueName = QueueName::from_static("search");

    #[test]
    fn partitions_spread_evenly_over_the_threads() {
        for threads in 1..=16 {
            let mut counts = vec![0; usize::from(threads)];
            for tag in tags(&SEARCH, threads * 3, threads) {
                counts[usize::from(tag.shard(threads))] += 1;
            }
            assert!(counts.iter().all(|&n| n == 3), "{threads} threads: {counts:?}");
        }
    }

    #[test]
    fn a_queue_grows_without_moving_its_first_partitions() {
        let few = tags(&SEARCH, 2, 4);
        let many = tags(&SEARCH, 8, 4);
        assert_eq!(few[..], many[..2]);
        assert_eq!(many[0].as_str(), "search~0");
        assert_eq!(many.iter().collect::<HashSet<_>>().len(), 8);
    }

    #[test]
    fn a_key_is_placed_by_the_crc_that_every_language_has() {
        let whole = usize::try_from(1_u64 << 32).expect("64 bits");
        assert_eq!(of_key("123456789", whole), 0xCBF4_3926, "the check value of CRC-32");
        assert_eq!((of_key("", 4), of_key("123456789", 4), of_key("any", 0)), (0, 0xCBF4_3926 % 4, 0));
    }

    #[test]
    fn a_tag_from_outside_cannot_break_out_of_its_braces() {
        assert!(Tag::parse("search~0").is_some());
        for bad in ["", "a}b", "a{b", "a b", "a:b"] {
            assert!(Tag::parse(bad).is_none(), "{bad}");
        }
    }
}
