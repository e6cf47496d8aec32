//! Submits jobs and awaits their completions.
//!
//! Promise: a submission that returns an id is accepted; one that fails says whether it may have been
//! accepted all the same, and submitting it again then does no harm, for a job has one result.
//! Never retries by itself what could be refused for a reason.

mod journaled;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    broker::{
        self, Address, BrokerError, BrokerErrorKind, Connection, Door, Due, Enqueue, Enqueued, QueueTags, Scope,
        Submitter, Writes,
    },
    completion::Completion,
    completions::{Completions, Filter},
    dedup,
    envelope::{Envelope, Options, encode_payload},
    handler::{BatchJob, Job},
    job::{JobId, Kind, QueueName},
    keys::Keys,
    partition::{Tag, of_key, tags},
    policy::{Durability, Policy},
    store::{Store, StoreError},
};

pub use self::journaled::accept_without_dragonfly;

/// A job to submit.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Which queue it waits in.
    pub queue: QueueName,
    /// The job, its id given already.
    pub envelope: Envelope,
    /// Not before this long from now, by the server's clock.
    pub delay: Option<Duration>,
}

impl Submission {
    /// A job.
    ///
    /// # Errors
    /// When its payload cannot be represented or is refused by its own check.
    pub fn job<J: Job>(job: &J) -> Result<Self, SubmitError> {
        job.validate().map_err(SubmitError::Invalid)?;
        Self::of(Kind::from_static(J::KIND), J::QUEUE, job)
    }

    /// A batch job.
    ///
    /// # Errors
    /// As [`Submission::job`].
    pub fn batch_job<J: BatchJob>(job: &J) -> Result<Self, SubmitError> {
        job.validate().map_err(SubmitError::Invalid)?;
        Self::of(Kind::from_static(J::KIND), J::QUEUE, job)
    }

    /// A job whose type is not at hand.
    ///
    /// # Errors
    /// When its payload cannot be represented.
    pub fn of<P: Serialize>(kind: Kind, queue: QueueName, payload: &P) -> Result<Self, SubmitError> {
        let payload = encode_payload(payload).map_err(|error| SubmitError::Invalid(error.to_string()))?;
        Ok(Self { queue, envelope: Envelope::new(kind, payload, Options::default()), delay: None })
    }

    /// The same with these options.
    #[must_use]
    pub fn with(mut self, options: Options) -> Self {
        self.envelope.options = options;
        self
    }

    /// The same after a delay.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The payload is not what the kind expects.
    #[error("submit a job: {0}")]
    Invalid(String),
    /// The server refused it: it was not accepted.
    #[error("submit a job: refused: {0}")]
    Refused(#[source] BrokerError),
    /// The server did not answer: it may or may not have been accepted. Submit the same again.
    #[error(
        "submit a job: no answer, so it may or may not have been accepted; submitting the same id again is safe: {0}"
    )]
    Unknown(#[source] BrokerError),
    /// The queue holds as much as it may: it was not accepted. Submit it again later.
    #[error("submit a job: the queue `{queue}` is full; it may have room in {retry_after:?}, submit it again then")]
    Busy {
        /// Which queue.
        queue: QueueName,
        /// When it is worth trying again, by the rate at which jobs left lately.
        retry_after: Duration,
    },
    /// The queue takes no new jobs: it was not accepted.
    #[error("submit a job: the queue `{0}` takes no new jobs now; an operator has closed it")]
    Closed(QueueName),
    /// It is in the server's memory, yet too few replicas said in time that they have it: it may be lost with the server.
    #[error(
        "submit a job: it was added, but {got} of {wanted} replicas have it for certain; submitting the same id again is safe"
    )]
    NotReplicated {
        /// How many replicas were to have it.
        wanted: u32,
        /// How many have it.
        got: u32,
    },
    /// Another job has its dedup key: it was not accepted.
    #[error("submit a job: the job {owner} has the same dedup key and is not done yet, or its window is still open")]
    Duplicate {
        /// Which job.
        owner: JobId,
    },
    /// The queue's jobs are journaled, and this client has no Postgres: it was not accepted.
    #[error(
        "submit a job: the jobs of the queue `{0}` are journaled, and this client knows no Postgres: give it one (`Client::with_journal`), or enqueue in SQL (`select tripsage.enqueue(…)`)"
    )]
    NoJournal(QueueName),
    /// Postgres did not take it: it was not accepted.
    #[error("submit a job: not journaled, so not accepted: {0}")]
    NotJournaled(#[source] StoreError),
    /// Postgres did not answer: it may or may not have been accepted. Submit the same again.
    #[error(
        "submit a job: no answer from Postgres, so it may or may not have been accepted; submitting the same id again is safe: {0}"
    )]
    MaybeJournaled(#[source] StoreError),
    /// No completion came in time. The job goes on.
    #[error("await a completion: none came within {0:?}; the job goes on, and its result will be in job_results")]
    TimedOut(Duration),
}

impl From<BrokerError> for SubmitError {
    fn from(error: BrokerError) -> Self {
        match error.kind() {
            BrokerErrorKind::Unreachable => Self::Unknown(error),
            _ => Self::Refused(error),
        }
    }
}

/// Where and how to submit.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where Dragonfly is.
    pub address: Address,
    /// What every key begins with.
    pub keys: Keys,
    /// How completions are published.
    pub scope: Scope,
    /// What "accepted" means.
    pub guarantees: Guarantees,
}

impl ClientOptions {
    /// A server under ordinary circumstances.
    pub fn new(address: Address, keys: Keys) -> Self {
        Self { address, keys, scope: Scope::Global, guarantees: Guarantees::default() }
    }
}

/// What has to be so before a job counts as accepted.
#[derive(Clone, Copy, Debug)]
pub struct Guarantees {
    /// How safe jobs are of queues for which no operator has decided it.
    pub durability: Durability,
    /// How many replicas have a job of a replicated queue.
    pub min_replicas: u32,
    /// How long they are waited for.
    pub replicas_within: Duration,
}

impl Default for Guarantees {
    /// Memory alone; a replica, for a second, where an operator asks for replication.
    fn default() -> Self {
        Self { durability: Durability::Memory, min_replicas: 1, replicas_within: Duration::from_secs(1) }
    }
}

/// A job that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id; or the id of the job that stands for it, where its dedup key was taken and its mode says so.
    pub id: JobId,
    /// Whether that job had been accepted before; nothing was added then.
    pub existing: bool,
    /// The job, still waiting, that it took the place of.
    pub replaced: Option<JobId>,
}

impl Accepted {
    fn new(id: JobId) -> Self {
        Self { id, existing: false, replaced: None }
    }
}

/// What became of one submission.
pub type Submitted = Result<Accepted, SubmitError>;

/// Submits jobs. Share one: jobs submitted together are pipelined over its connection.
pub struct Client {
    options: ClientOptions,
    connection: Connection,
    submitter: Submitter,
    fleet: Mutex<Option<(Instant, Arc<Fleet>)>>,
    journal: Option<Store>,
}

/// What the fleet says of its queues.
struct Fleet {
    queues: QueueTags,
    policies: BTreeMap<QueueName, Policy>,
    /// Why the server could not be asked; then only what is decided in Postgres is known.
    away: Option<BrokerError>,
}

/// How long a client waits for what Postgres says of policies, before it goes by Dragonfly's copy.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);

/// How long the list of partitions, and what operators decided, is believed.
const FLEET_KNOWN_FOR: Duration = Duration::from_secs(10);

/// Whether ready jobs go through the script too, 128 a call, where nothing has to be judged.
const PACK_ALL: bool = false;

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn connect(options: ClientOptions) -> Result<Self, BrokerError> {
        // One connection: what has to be replicated is waited for where it was sent.
        let connection = Connection::open(&options.address.with_pool(1)).await?;
        Ok(Self {
            options,
            submitter: Submitter::new(connection.clone()),
            connection,
            fleet: Mutex::default(),
            journal: None,
        })
    }

    /// The same with a Postgres, in which the jobs of journaled queues are accepted.
    #[must_use]
    pub fn with_journal(mut self, store: Store) -> Self {
        self.journal = Some(store);
        self
    }

    /// Submits one job; gives its id, or the id of the job that stands for it.
    ///
    /// # Errors
    /// [`SubmitError`] says whether it may have been accepted.
    pub async fn submit(&self, submission: Submission) -> Result<JobId, SubmitError> {
        let mut ids = self.submit_all(vec![submission]).await?;
        Ok(ids.swap_remove(0))
    }

    /// Submits many jobs, pipelined and spread over their queues' partitions; gives their ids in the same order.
    ///
    /// # Errors
    /// [`SubmitError`], the first of them; some of the others may have been accepted. [`Client::submit_each`] tells which.
    pub async fn submit_all(&self, submissions: Vec<Submission>) -> Result<Vec<JobId>, SubmitError> {
        self.submit_each(submissions).await?.into_iter().map(|submitted| Ok(submitted?.id)).collect()
    }

    /// Submits many jobs; says of each, in the same order, what became of it.
    ///
    /// # Errors
    /// [`SubmitError`] when the server refused or did not answer; some may have been accepted.
    pub async fn submit_each(&self, submissions: Vec<Submission>) -> Result<Vec<Submitted>, SubmitError> {
        // Boxed once a batch, so that whoever submits does not carry it about.
        Box::pin(self.submit_now(submissions)).await
    }

    async fn submit_now(&self, submissions: Vec<Submission>) -> Result<Vec<Submitted>, SubmitError> {
        let fleet = self.fleet().await?;
        let is_journaled =
            |(_, job): &(usize, Submission)| self.durability(&fleet, &job.queue) == Durability::Journaled;
        let (journaled, plain): (Vec<_>, Vec<_>) = submissions.into_iter().enumerate().partition(is_journaled);
        let mut submitted = Box::pin(self.place(&fleet, plain)).await?;
        // Boxed: most submissions do not go there, and none shall be as large as that.
        submitted.extend(Box::pin(self.submit_journaled(&fleet, journaled)).await?);
        submitted.sort_unstable_by_key(|(number, _)| *number);
        Ok(submitted.into_iter().map(|(_, submitted)| submitted).collect())
    }

    /// Puts jobs into Dragonfly, spread over their queues' partitions.
    async fn place(
        &self,
        fleet: &Fleet,
        jobs: Vec<(usize, Submission)>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        if let Some(error) = fleet.away.clone().filter(|_| !jobs.is_empty()) {
            return Err(error.into());
        }
        let mut by_partition: HashMap<Tag, Vec<(usize, Submission)>> = HashMap::new();
        let turn = fastrand::usize(..1 << 16);
        for (number, submission) in jobs {
            let turn = match &submission.envelope.options.dedup {
                Some(dedup) => of_key(check(dedup)?, fleet.queues.get(&submission.queue).map_or(1, Vec::len)),
                None => turn + number,
            };
            by_partition.entry(choose(&fleet.queues, &submission.queue, turn)).or_default().push((number, submission));
        }
        let replicated: HashSet<usize> = if self.any_replicated(fleet) {
            let all = by_partition.values().flatten();
            let replicated = all.filter(|(_, job)| self.durability(fleet, &job.queue) == Durability::Replicated);
            replicated.map(|(number, _)| *number).collect()
        } else {
            HashSet::new()
        };
        let writes = if replicated.is_empty() { None } else { Some(Writes::begin(&self.connection).await?) };
        let added = by_partition.into_iter().map(|(tag, jobs)| self.add(fleet, tag, jobs));
        let submitted = futures::future::try_join_all(added).await?;
        let mut submitted: Vec<(usize, Submitted)> = submitted.into_iter().flatten().collect();
        if let Some(writes) = writes {
            self.replicate(&writes, submitted.iter_mut().filter(|(number, _)| replicated.contains(number))).await?;
        }
        Ok(submitted)
    }

    fn any_replicated(&self, fleet: &Fleet) -> bool {
        let decided = fleet.policies.values().filter_map(|policy| policy.durability);
        decided.chain([self.options.guarantees.durability]).any(|durability| durability == Durability::Replicated)
    }

    fn durability(&self, fleet: &Fleet, queue: &QueueName) -> Durability {
        let decided = fleet.policies.get(queue).and_then(|policy| policy.durability);
        decided.unwrap_or(self.options.guarantees.durability)
    }

    /// Waits once for all of them.
    async fn replicate(
        &self,
        writes: &Writes<'_>,
        submitted: impl Iterator<Item = &mut (usize, Submitted)>,
    ) -> Result<(), SubmitError> {
        let Guarantees { min_replicas: wanted, replicas_within, .. } = self.options.guarantees;
        let got = writes.replicated(wanted, replicas_within).await?;
        if got < wanted {
            let accepted = submitted.filter(|(_, submitted)| submitted.is_ok());
            accepted.for_each(|(_, submitted)| *submitted = Err(SubmitError::NotReplicated { wanted, got }));
        }
        Ok(())
    }

    /// Ready jobs that nobody has to judge go as plain additions, the others through the script.
    async fn add(
        &self,
        fleet: &Fleet,
        tag: Tag,
        jobs: Vec<(usize, Submission)>,
    ) -> Result<Vec<(usize, Submitted)>, SubmitError> {
        let mut submitted = Vec::with_capacity(jobs.len());
        let queue = jobs.first().map(|(_, submission)| &submission.queue);
        let limited = queue.and_then(|queue| fleet.policies.get(queue)).is_some_and(Policy::limits_producers);
        let (mut ready, mut judged, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (number, Submission { queue, envelope, delay }) in jobs {
            let due = due(delay, envelope.options.run_at_ms);
            let (id, priority) = (envelope.id, envelope.options.priority);
            if PACK_ALL || limited || due.is_some() || envelope.options.dedup.is_some() {
                let dedup = envelope.options.dedup.clone();
                judged.push(Enqueue { id, priority, due, dedup, again: false, envelope: envelope.write() });
                places.push((number, queue));
            } else {
                ready.push((priority, envelope.write()));
                submitted.push((number, Ok(Accepted::new(id))));
            }
        }
        self.submitter.add_all(&self.options.keys.partition(&tag), ready).await?;
        let verdicts = self.door().enqueue(&tag, &judged).await?;
        let judged = judged.iter().zip(places).zip(verdicts);
        submitted.extend(judged.map(|((job, (number, queue)), verdict)| (number, told(job.id, queue, verdict))));
        Ok(submitted)
    }

    fn door(&self) -> Door<'_> {
        Door { connection: &self.connection, keys: &self.options.keys, scope: self.options.scope }
    }

    /// Submits one job and waits for its completion.
    ///
    /// # Errors
    /// [`SubmitError::TimedOut`] when none came in time; the job goes on.
    pub async fn submit_and_wait(
        &self,
        mut submission: Submission,
        within: Duration,
    ) -> Result<Completion, SubmitError> {
        let id = submission.envelope.id;
        if !submission.envelope.options.notify.iter().any(|wish| wish == "job") {
            submission.envelope.options.notify.push("job".to_owned());
        }
        // Subscribed before it is submitted, so that no completion can come too early. Another job may stand for one with
        // a dedup key, and that one may not have asked for a channel of its own.
        let filter = match &submission.envelope.options.dedup {
            Some(_) => Filter::Queue(submission.queue.clone()),
            None => Filter::Job(id),
        };
        let mut completions = self.completions(&filter).await?;
        let id = self.submit(submission).await?;
        let of_job = async {
            while let Some(batch) = completions.next().await {
                let found = batch.completions.into_iter().find(|completion| completion.id == id);
                if found.is_some() {
                    return found;
                }
            }
            None
        };
        let found = tokio::time::timeout(within, of_job).await;
        found.ok().flatten().ok_or(SubmitError::TimedOut(within))
    }

    /// Completions from now on.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn completions(&self, filter: &Filter) -> Result<Completions, BrokerError> {
        Completions::subscribe(&self.options.address, &self.options.keys, (self.options.scope, filter)).await
    }

    /// Every queue that a worker has registered, with its partitions.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn queues(&self) -> Result<QueueTags, BrokerError> {
        Ok(self.fleet().await?.queues.clone())
    }

    async fn fleet(&self) -> Result<Arc<Fleet>, BrokerError> {
        let known = self.fleet.lock().expect("no code panics while it holds this lock").clone();
        if let Some((_, fleet)) = known.filter(|(since, _)| since.elapsed() < FLEET_KNOWN_FOR) {
            return Ok(fleet);
        }
        // Boxed: it is rare, and no submission shall be as large as that.
        let fleet = Arc::new(Box::pin(self.ask_fleet()).await?);
        if fleet.away.is_none() {
            let known = Some((Instant::now(), Arc::clone(&fleet)));
            *self.fleet.lock().expect("no code panics while it holds this lock") = known;
        }
        Ok(fleet)
    }

    async fn ask_fleet(&self) -> Result<Fleet, BrokerError> {
        let told = tokio::try_join!(
            broker::registered(&self.connection, &self.options.keys),
            broker::policies(&self.connection, &self.options.keys)
        );
        // Dragonfly's copy of the policies goes with its memory: where there is a Postgres, it decides.
        let decided = match &self.journal {
            Some(store) => tokio::time::timeout(DECIDED_WITHIN, store.policies()).await.ok().and_then(Result::ok),
            None => None,
        };
        match (told, decided) {
            (Ok((queues, copied)), decided) => Ok(Fleet { queues, policies: decided.unwrap_or(copied), away: None }),
            (Err(error), Some(policies)) if error.kind() == BrokerErrorKind::Unreachable => {
                Ok(Fleet { queues: QueueTags::new(), policies, away: Some(error) })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The connection it submits over.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Where and how it submits.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Publishes bytes as a stream entry, whatever they are: for tools and tests that need what a client of ours would never send.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn submit_bytes(&self, queue: &QueueName, bytes: Bytes) -> Result<(), SubmitError> {
        let tag = choose(&self.queues().await?, queue, 0);
        self.submitter.add(&self.options.keys.partition(&tag), crate::job::Priority::Normal, bytes).await?;
        Ok(())
    }
}

/// Partition 0 exists by convention, even before the first worker of the queue has started.
pub(crate) fn choose(queues: &QueueTags, queue: &QueueName, turn: usize) -> Tag {
    match queues.get(queue) {
        Some(tags) if !tags.is_empty() => tags[turn % tags.len()].clone(),
        _ => tags(queue, 1, 1).swap_remove(0),
    }
}

fn due(delay: Option<Duration>, run_at_ms: Option<u64>) -> Option<Due> {
    delay.map(Due::In).or_else(|| run_at_ms.map(Due::At))
}

fn check(dedup: &dedup::Dedup) -> Result<&str, SubmitError> {
    let reason = match dedup.key.len() {
        0 => "the dedup key is empty; expected what makes two jobs the same".to_owned(),
        n if n > dedup::MAX_KEY_BYTES => {
            format!("the dedup key has {n} bytes; expected at most {}", dedup::MAX_KEY_BYTES)
        }
        _ if dedup.window_ms == 0 => "the dedup window is 0 ms; expected how long the key shall last".to_owned(),
        _ => return Ok(&dedup.key),
    };
    Err(SubmitError::Invalid(reason))
}

fn told(id: JobId, queue: QueueName, verdict: Enqueued) -> Submitted {
    match verdict {
        Enqueued::Accepted => Ok(Accepted::new(id)),
        Enqueued::Replaced(replaced) => Ok(Accepted { replaced: Some(replaced), ..Accepted::new(id) }),
        Enqueued::Existing(owner) => Ok(Accepted { existing: true, ..Accepted::new(owner) }),
        Enqueued::Duplicate(owner) => Err(SubmitError::Duplicate { owner }),
        Enqueued::Busy(retry_after) => Err(SubmitError::Busy { queue, retry_after }),
        Enqueued::Closed => Err(SubmitError::Closed(queue)),
        Enqueued::OutOfMemory => Err(SubmitError::Refused(BrokerError::out_of_memory("enqueue"))),
    }
}
