//! What lies in a partition: asked of the server in one piece, apart from the code that is tested.

use std::collections::BTreeMap;

use engine::job::{JobId, Priority};

/// One line for each thing that lies in a partition; `calm` long ago, so that hearts count from the first beat.
pub(super) const LOOK: &str = "\
local lines = {}
local function tell(...) lines[#lines + 1] = table.concat({...}, ' ') end
redis.call('HSET', KEYS[8], 'calm', '1')
for lane = 1, 3 do
  local entries = redis.call('XRANGE', KEYS[lane], '-', '+')
  for i = 1, #entries do tell('entry', lane, entries[i][1], entries[i][2][2]) end
  local pending = redis.call('XPENDING', KEYS[lane], 'workers', '-', '+', 1000)
  for i = 1, #pending do tell('pending', lane, pending[i][1], pending[i][2]) end
end
local later = redis.call('ZRANGE', KEYS[4], 0, -1)
for i = 1, #later do tell('later', 0, later[i], redis.call('HGET', KEYS[5], later[i]) or 'nothing') end
tell('kept', 0, redis.call('HLEN', KEYS[5]), '')
local dead = redis.call('XRANGE', KEYS[7], '-', '+')
for i = 1, #dead do tell('dead', 0, dead[i][1], dead[i][2][2]) end
local noted = redis.call('HGETALL', KEYS[6])
for i = 1, #noted, 2 do tell('noted', 0, noted[i], noted[i + 1]) end
return table.concat(lines, '\\n')";

/// Where a job is; what is settled is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Ready(Priority),
    Later(Priority),
    Pending(Priority, String),
    Dead,
}

/// What the server holds.
#[derive(Default, Debug)]
pub(super) struct Seen {
    pub(super) jobs: BTreeMap<JobId, Place>,
    /// lane:entry → job
    pub(super) entries: BTreeMap<String, JobId>,
    /// Ready jobs in the order in which they are to be taken.
    pub(super) ready: Vec<JobId>,
    pub(super) noted: BTreeMap<String, u32>,
}

impl Seen {
    pub(super) fn read(text: &str) -> Self {
        let mut seen = Self::default();
        let mut n_later = 0;
        for line in text.lines() {
            let [what, lane, key, value] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (name, lane) = (format!("{lane}:{key}"), Priority::from_lane(lane.parse().unwrap()));
            let (id, place) = match what {
                "entry" => (id_in(value), Place::Ready(lane)),
                "later" => (id_in(value), Place::Later(Priority::from_lane(value.as_bytes()[0] - b'0'))),
                "dead" => (id_in(value), Place::Dead),
                "pending" => {
                    let id = seen.entries[&name];
                    assert!(seen.jobs.insert(id, Place::Pending(lane, value.to_owned())).is_some());
                    continue;
                }
                "noted" => {
                    seen.noted.insert(key.to_owned(), value.parse().unwrap());
                    continue;
                }
                _ => {
                    assert_eq!(n_later.to_string(), key, "`later` and its jobs go together");
                    continue;
                }
            };
            n_later += usize::from(what == "later");
            if what == "entry" {
                seen.entries.insert(name, id);
                seen.ready.push(id);
            }
            assert_eq!(seen.jobs.insert(id, place), None, "a job is in two places: {text}");
        }
        seen.ready.retain(|id| matches!(seen.jobs[id], Place::Ready(_)));
        seen
    }
}

/// The id in an envelope, or in what stands for one here.
pub(super) fn id_in(text: &str) -> JobId {
    let (_, id) = text.rsplit_once("\"id\":\"").expect("it names its job");
    id.trim_end_matches("\"}").parse().unwrap()
}
