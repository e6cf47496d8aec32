//! Accepts jobs into a partition: within the queue's budgets, each dedup key once.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use bytes::{Bytes, BytesMut};
use fred::types::Value;
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    MAX_PER_SCRIPT,
    connection::{self, BrokerError, Connection, text},
    pubsub::Scope,
    reply,
    script::Script,
};
use crate::{
    dedup::Dedup,
    job::{JobId, Priority},
    keys::{BATCH_FIELD, GROUP, JOB_FIELD, Keys, PartitionKeys, RELEASED},
    partition::Tag,
};

static ENQUEUE: Script = Script::new("enqueue", include_str!("enqueue.lua"));

/// When a job is due, by the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At this time, milliseconds since 1970.
    At(u64),
    /// This long from now.
    In(Duration),
}

/// A job to accept.
#[derive(Clone, Debug)]
pub struct Enqueue<'a> {
    /// Which job.
    pub id: JobId,
    /// Which stream it enters.
    pub priority: Priority,
    /// When it enters it; at once where nothing is said.
    pub due: Option<Due>,
    /// What it asks for when its key is taken. Its partition is the key's, [`crate::partition::of_key`].
    pub dedup: Option<Cow<'a, Dedup>>,
    /// It was accepted before and is brought back: it is added even where its key is another job's by now.
    pub again: bool,
    /// Its envelope.
    pub envelope: Bytes,
}

/// What the server made of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is there.
    Accepted,
    /// It is there, in place of this job, which waited and whose completion says `cancelled`.
    Replaced(JobId),
    /// This job, accepted before under the same key, stands for it; nothing was added.
    Existing(JobId),
    /// Refused: this job has its key.
    Duplicate(JobId),
    /// Refused: the queue holds as much as it may. Worth asking again after this long.
    Busy(Duration),
    /// Refused: the queue takes no new jobs.
    Closed,
    /// Refused: the server's memory is full.
    OutOfMemory,
}

/// Where jobs are accepted.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    /// Over which connection.
    pub connection: &'a Connection,
    /// What keys begin with.
    pub keys: &'a Keys,
    /// How completions are published.
    pub scope: Scope,
}

impl Door<'_> {
    /// Accepts jobs into one partition, as many as fit, in their order; the answers stand in the same order.
    ///
    /// # Errors
    /// When the server could not be asked: some may have been accepted, and asking again does no harm.
    pub async fn enqueue(&self, tag: &Tag, jobs: &[Enqueue<'_>]) -> Result<Vec<Enqueued>, BrokerError> {
        // Sent one after the other and answered in that order; none waits for the answer to the one before.
        let calls = jobs.chunks(MAX_PER_SCRIPT).map(|some| self.enqueue_some(tag, some));
        Ok(futures::future::try_join_all(calls).await?.concat())
    }

    /// The same for at most [`MAX_PER_SCRIPT`].
    ///
    /// # Errors
    /// As [`Door::enqueue`].
    pub(crate) async fn enqueue_some(&self, tag: &Tag, jobs: &[Enqueue<'_>]) -> Result<Vec<Enqueued>, BrokerError> {
        let partition = self.keys.partition(tag);
        let [high, normal, low] = &partition.lanes;
        let fixed = [high, normal, low, &partition.later, &partition.later_jobs, &partition.control, &partition.done];
        let mut keys = fixed.map(text).to_vec();
        let places = add_dedup_keys(&partition, jobs, &mut keys);
        let done = self.keys.done_prefix();
        let PartitionKeys { words, due_word, .. } = &partition;
        let words =
            [JOB_FIELD, GROUP, RELEASED, self.scope.publish(), &done, tag.as_str(), BATCH_FIELD, words, due_word];
        let mut args = words.map(text).to_vec();
        args.reserve(3 * jobs.len());
        lay_out(jobs, &places, &mut args);
        let answered = ENQUEUE.run_on(self.connection, keys, args).await?;
        verdicts(&answered, jobs.len()).ok_or_else(|| BrokerError::odd("enqueue", &answered))
    }
}

/// Adds the dedup keys, each once; gives the place in KEYS of each job's, 0 where a job has none.
fn add_dedup_keys(partition: &PartitionKeys, jobs: &[Enqueue<'_>], keys: &mut Vec<Value>) -> Vec<usize> {
    let prefix = partition.dedup_prefix();
    let mut known: HashMap<&str, usize> = HashMap::with_capacity(jobs.len());
    let n_bytes = jobs.iter().filter_map(|job| job.dedup.as_ref()).map(|dedup| prefix.len() + dedup.key.len()).sum();
    let mut names = BytesMut::with_capacity(n_bytes); // one buffer for all of them
    let mut place = |dedup: &Cow<'_, Dedup>| {
        names.extend_from_slice(prefix.as_bytes());
        names.extend_from_slice(dedup.key.as_bytes());
        keys.push(connection::bytes(names.split().freeze()));
        keys.len()
    };
    let mut places = Vec::with_capacity(jobs.len());
    for job in jobs {
        let of_job = job.dedup.as_ref().map(|dedup| *known.entry(&dedup.key).or_insert_with(|| place(dedup)));
        places.push(of_job.unwrap_or(0));
    }
    places
}

/// The largest number of milliseconds that every Lua counts exactly.
const MAX_MS: u64 = 1 << 53;

/// What the jobs of a run have in common, as their header says it.
#[derive(Clone, Copy, PartialEq)]
struct Shared {
    lane: u8,
    due: Option<Due>,
    /// The window and the mode.
    dedup: Option<(u64, &'static str)>,
}

impl Shared {
    fn by(job: &Enqueue<'_>) -> Self {
        let mode = |dedup: &Dedup| if job.again { "again" } else { dedup.mode.as_str() };
        let dedup = job.dedup.as_ref().map(|dedup| (dedup.window_ms.clamp(1, MAX_WINDOW_MS), mode(dedup)));
        Self { lane: job.priority.lane(), due: job.due, dedup }
    }

    /// Whether the script has to know the job's id.
    fn names_ids(&self) -> bool {
        self.due.is_some() || self.dedup.is_some()
    }

    /// The header of so many jobs; `place` is that of the first one's key.
    fn header(&self, n_jobs: usize, place: usize) -> String {
        let Self { lane, due, dedup } = self;
        let due = match due {
            None if dedup.is_none() => return format!("{lane} {n_jobs}"),
            None => "+0".to_owned(),
            Some(Due::At(ms)) => format!("@{}", (*ms).min(MAX_MS)),
            // A wait below a millisecond is one all the same: `+0` would mean none.
            Some(Due::In(delay)) => format!("+{}", delay.as_millis().clamp(1, u128::from(MAX_MS))),
        };
        match dedup {
            None => format!("{lane} {n_jobs} {due}"),
            Some((window_ms, mode)) => format!("{lane} {n_jobs} {due} {place} {window_ms} {mode}"),
        }
    }
}

/// The jobs as the script reads them: neighbours that share a header, and whose keys stand side by side, are a run.
fn lay_out(jobs: &[Enqueue<'_>], places: &[usize], args: &mut Vec<Value>) {
    let mut ids = BytesMut::with_capacity(Hyphenated::LENGTH * jobs.len()); // one buffer for all of them
    let mut id = |id: JobId| {
        ids.extend_from_slice(id.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        connection::bytes(ids.split().freeze())
    };
    let mut begin = 0;
    while let Some(first) = jobs.get(begin) {
        let (shared, first_place) = (Shared::by(first), places[begin]);
        let goes_on = |&n: &usize| {
            let is_next = jobs[n].dedup.is_none() || places[n] == first_place + n - begin;
            is_next && Shared::by(&jobs[n]) == shared
        };
        let end = (begin..jobs.len()).take_while(goes_on).count() + begin;
        args.push(text(shared.header(end - begin, first_place)));
        for job in &jobs[begin..end] {
            args.extend(shared.names_ids().then(|| id(job.id)));
            args.push(connection::bytes(job.envelope.clone()));
        }
        begin = end;
    }
}

/// A year: Dragonfly cuts an expiry of more than some eight years without a word.
const MAX_WINDOW_MS: u64 = 365 * 24 * 3_600_000;

fn verdicts(answered: &Value, n_jobs: usize) -> Option<Vec<Enqueued>> {
    let (digits, rest) = reply::array(answered).split_first()?;
    let (wait, others) = rest.split_first()?;
    let wait = Duration::from_millis(u64::try_from(reply::integer(wait)?).ok()?);
    let mut others = others.iter().map(|other| reply::text(other)?.parse::<JobId>().ok());
    let verdicts: Option<Vec<Enqueued>> = reply::bytes(digits)?
        .iter()
        .map(|digit| {
            Some(match digit {
                b'1' => Enqueued::Accepted,
                b'2' => Enqueued::Busy(wait),
                b'3' => Enqueued::Closed,
                b'4' => Enqueued::OutOfMemory,
                b'5' => Enqueued::Duplicate(others.next()??),
                b'6' => Enqueued::Existing(others.next()??),
                b'7' => Enqueued::Replaced(others.next()??),
                _ => return None,
            })
        })
        .collect();
    verdicts.filter(|verdicts| verdicts.len() == n_jobs)
}

/// A hash's value: the lane's digit, then the envelope.
pub(crate) fn with_lane(priority: Priority, envelope: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(1 + envelope.len());
    value.push(b'0' + priority.lane());
    value.extend_from_slice(envelope);
    Bytes::from(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::dedup::Mode;

    fn job(due: Option<Due>, dedup: Option<Dedup>, again: bool) -> Enqueue<'static> {
        let (id, dedup) = (JobId(Uuid::nil()), dedup.map(Cow::Owned));
        Enqueue { id, priority: Priority::Low, due, dedup, again, envelope: Bytes::new() }
    }

    fn texts(args: &[Value]) -> Vec<String> {
        args.iter().map(|arg| reply::text(arg).unwrap()).collect()
    }

    #[test]
    fn a_header_says_no_more_than_the_script_needs() {
        let id = Uuid::nil().to_string();
        let dedup = |window_ms| Some(Dedup { key: "k".to_owned(), window_ms, mode: Mode::Replace });
        let in_a_moment = Some(Due::In(Duration::from_micros(1)));
        for (job, told) in [
            (job(None, None, false), vec!["3 1", ""]),
            (job(in_a_moment, None, false), vec!["3 1 +1", &id, ""]),
            (job(Some(Due::At(u64::MAX)), None, false), vec!["3 1 @9007199254740992", &id, ""]),
            (job(None, dedup(0), false), vec!["3 1 +0 8 1 replace", &id, ""]),
            (job(None, dedup(u64::MAX), true), vec!["3 1 +0 8 31536000000 again", &id, ""]),
        ] {
            let mut args = Vec::new();
            lay_out(&[job], &[8], &mut args);
            assert_eq!(texts(&args), told);
        }
    }

    #[test]
    fn only_neighbours_that_share_everything_share_a_header() {
        let keyed = |key: &str| job(None, Some(Dedup { key: key.to_owned(), window_ms: 5, mode: Mode::Reject }), false);
        let jobs = [job(None, None, false), job(None, None, false), keyed("a"), keyed("b"), keyed("a"), keyed("c")];
        let partition = Keys::new("t:").partition(&Tag::parse("x~0").unwrap());
        let mut keys = [""; 7].map(text).to_vec();
        let places = add_dedup_keys(&partition, &jobs, &mut keys);
        let mut args = Vec::new();
        lay_out(&jobs, &places, &mut args);
        let headers: Vec<String> = texts(&args).into_iter().filter(|text| text.contains(' ')).collect();
        assert_eq!(headers, ["3 2", "3 2 +0 8 5 reject", "3 1 +0 8 5 reject", "3 1 +0 10 5 reject"]);
        assert_eq!(texts(&keys[7..]), ["a", "b", "c"].map(|key| partition.dedup(key)));
    }

    #[test]
    fn answers_read_the_same_from_every_server() {
        let id = JobId(Uuid::nil());
        for ms in [Value::Integer(250), Value::Double(250.0), Value::from("250")] {
            let answered = Value::Array(vec![Value::from("1527"), ms, text(id.to_string()), text(id.to_string())]);
            let wait = Duration::from_millis(250);
            let read = [Enqueued::Accepted, Enqueued::Duplicate(id), Enqueued::Busy(wait), Enqueued::Replaced(id)];
            assert_eq!(verdicts(&answered, 4).unwrap(), read);
        }
        let short = Value::Array(vec![Value::from("15"), Value::Integer(0)]);
        assert!(verdicts(&short, 2).is_none(), "the other job's id is missing");
        assert!(verdicts(&Value::Array(vec![Value::from("1"), Value::Integer(0)]), 2).is_none());
    }
}
