//! Submits jobs and awaits their completions.
//!
//! Promise: a submission that returns an id is accepted; one that fails says whether it may have been
//! accepted all the same, and submitting it again then does no harm, for a job has one result.
//! Never retries by itself what could be refused for a reason.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    broker::{self, Address, BrokerError, BrokerErrorKind, Connection, Due, QueueTags, Scheduled, Scope, Submitter},
    completion::Completion,
    completions::{Completions, Filter},
    envelope::{Envelope, Options, encode_payload},
    handler::{BatchJob, Job},
    job::{JobId, Kind, QueueName},
    journal::{self, Journal},
    keys::Keys,
    partition::{Tag, tags},
    placer::Placer,
    policy::{Durability, Policy},
    store::{Store, StoreError},
};

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
}

/// Submits jobs. Share one: jobs submitted together are pipelined over its connection.
pub struct Client {
    options: ClientOptions,
    connection: Connection,
    submitter: Submitter,
    queues: Mutex<Option<(Instant, QueueTags)>>,
    policies: Mutex<Option<(Instant, BTreeMap<QueueName, Policy>)>>,
    durability: Durability,
    journal: Option<Journal>,
}

/// How long the list of partitions is believed.
const QUEUES_KNOWN_FOR: Duration = Duration::from_secs(10);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn connect(options: ClientOptions) -> Result<Self, BrokerError> {
        let connection = Connection::open(&options.address).await?;
        Ok(Self {
            submitter: Submitter::new(connection.clone()).publishing_in(options.scope),
            options,
            connection,
            queues: Mutex::default(),
            policies: Mutex::default(),
            durability: Durability::default(),
            journal: None,
        })
    }

    /// The same with a Postgres, in which the jobs of journaled queues are accepted.
    #[must_use]
    pub fn with_journal(mut self, store: Store) -> Self {
        let placer = Placer::new(self.connection.clone(), self.options.keys.clone());
        self.journal = Some(Journal { store, placer });
        self
    }

    /// The same for a fleet whose queues have this durability where no policy says otherwise.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Submits one job.
    ///
    /// # Errors
    /// [`SubmitError`] says whether it may have been accepted.
    pub async fn submit(&self, submission: Submission) -> Result<JobId, SubmitError> {
        let id = submission.envelope.id;
        self.submit_all(vec![submission]).await?;
        Ok(id)
    }

    /// Submits many jobs, pipelined and spread over their queues' partitions; gives their ids in the same order.
    ///
    /// # Errors
    /// [`SubmitError`]; some of them may have been accepted.
    pub async fn submit_all(&self, submissions: Vec<Submission>) -> Result<Vec<JobId>, SubmitError> {
        let ids = submissions.iter().map(|submission| submission.envelope.id).collect();
        let (journaled, plain) = self.sorted(submissions).await?;
        self.submit_plain(plain).await?;
        self.submit_journaled(journaled).await?;
        Ok(ids)
    }

    /// Those whose queue is journaled, and the others.
    async fn sorted(&self, submissions: Vec<Submission>) -> Result<(Vec<Submission>, Vec<Submission>), SubmitError> {
        let policies = self.policies().await?;
        let durability = |queue: &QueueName| policies.get(queue).and_then(|policy| policy.durability);
        let is_journaled =
            |submission: &Submission| durability(&submission.queue).unwrap_or(self.durability) == Durability::Journaled;
        Ok(submissions.into_iter().partition(is_journaled))
    }

    async fn submit_journaled(&self, submissions: Vec<Submission>) -> Result<(), SubmitError> {
        let Some(first) = submissions.first() else { return Ok(()) };
        let Some(journal) = &self.journal else { return Err(SubmitError::NoJournal(first.queue.clone())) };
        match self.queues().await {
            Ok(queues) => journal.accept(&queues, submissions).await,
            Err(error) if error.kind() == BrokerErrorKind::Unreachable => {
                tracing::warn!(%error, n_jobs = submissions.len(), "Dragonfly is away: jobs are accepted into the journal, the relay brings them");
                journal::accept(&journal.store, submissions).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn submit_plain(&self, submissions: Vec<Submission>) -> Result<(), SubmitError> {
        if submissions.is_empty() {
            return Ok(());
        }
        let queues = self.queues().await?;
        let mut by_partition: HashMap<Tag, Vec<Submission>> = HashMap::new();
        let turn = fastrand::usize(..1 << 16);
        for (number, submission) in submissions.into_iter().enumerate() {
            by_partition.entry(choose(&queues, &submission.queue, turn + number)).or_default().push(submission);
        }
        let added = by_partition.into_iter().map(|(tag, submissions)| self.add(tag, submissions));
        futures::future::try_join_all(added).await?;
        Ok(())
    }

    async fn add(&self, tag: Tag, submissions: Vec<Submission>) -> Result<(), SubmitError> {
        let keys = self.options.keys.partition(&tag);
        let (mut ready, mut delayed) = (Vec::new(), Vec::new());
        for Submission { envelope, delay, .. } in submissions {
            let priority = envelope.options.priority;
            match due(delay, envelope.options.run_at_ms) {
                Some(due) => delayed.push(Scheduled { id: envelope.id, due, priority, envelope: envelope.write() }),
                None => ready.push((priority, envelope.write())),
            }
        }
        self.submitter.add_all(&keys, ready).await?;
        Ok(self.submitter.schedule(&keys, &delayed).await?)
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
        // Subscribed before it is submitted, so that no completion can come too early.
        let mut completions = self.completions(&Filter::Job(id)).await?;
        self.submit(submission).await?;
        let first = tokio::time::timeout(within, completions.next()).await;
        let found =
            first.ok().flatten().and_then(|batch| batch.completions.into_iter().find(|completion| completion.id == id));
        found.ok_or(SubmitError::TimedOut(within))
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
        let known = self.queues.lock().expect("no code panics while it holds this lock").clone();
        if let Some((_, queues)) = known.filter(|(since, _)| since.elapsed() < QUEUES_KNOWN_FOR) {
            return Ok(queues);
        }
        let queues = broker::registered(&self.connection, &self.options.keys).await?;
        *self.queues.lock().expect("no code panics while it holds this lock") = Some((Instant::now(), queues.clone()));
        Ok(queues)
    }

    /// What operators decided about queues, as known lately: from Postgres where there is one, for Dragonfly's copy goes
    /// with its memory.
    async fn policies(&self) -> Result<BTreeMap<QueueName, Policy>, BrokerError> {
        let lately = self.policies.lock().expect("no code panics while it holds this lock").clone();
        let (known, is_new) = match lately {
            Some((since, policies)) => (Some(policies), since.elapsed() < QUEUES_KNOWN_FOR),
            None => (None, false),
        };
        if let Some(known) = known.clone().filter(|_| is_new) {
            return Ok(known);
        }
        let from_postgres = match &self.journal {
            Some(journal) => journal.store.policies().await.ok().or(known),
            None => None,
        };
        let policies = match from_postgres {
            Some(policies) => policies,
            None => broker::policies(&self.connection, &self.options.keys).await?,
        };
        let now = Some((Instant::now(), policies.clone()));
        *self.policies.lock().expect("no code panics while it holds this lock") = now;
        Ok(policies)
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
