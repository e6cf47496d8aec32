//! Submits jobs and awaits their completions.
//!
//! Promise: a submission that returns an id is accepted; one that fails says whether it may have been
//! accepted all the same, and submitting it again then does no harm, for a job has one result.
//! Never retries by itself what could be refused for a reason.

mod error;
mod fleet;
mod journaled;
mod limiter;
mod options;
mod place;
mod submission;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

pub(crate) use self::fleet::choose;
pub use self::{
    error::SubmitError,
    journaled::accept_without_dragonfly,
    options::{ClientOptions, Guarantees},
    submission::Submission,
};
use self::{
    fleet::{Fleet, LastFleet},
    journaled::Journal,
    place::Unplaced,
};
use crate::{
    broker::{BrokerError, Connection, QueueTags, Replicas, Submitter},
    completion::Completion,
    completions::{Completions, Filter},
    job::{JobId, QueueName},
    policy::Durability,
    store::Store,
};

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
    replicas: Replicas,
    fleet: Mutex<Option<(Instant, Arc<Fleet>)>>,
    last_fleet: tokio::sync::Mutex<LastFleet>,
    journal: Option<Journal>,
}

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
            replicas: Replicas::new(connection.clone()),
            connection,
            fleet: Mutex::default(),
            last_fleet: tokio::sync::Mutex::default(),
            journal: None,
        })
    }

    /// The same with a Postgres, in which the jobs of journaled queues are accepted.
    #[must_use]
    pub fn with_journal(mut self, store: Store) -> Self {
        self.journal = Some(Journal::new(store));
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

    async fn submit_now(&self, mut submissions: Vec<Submission>) -> Result<Vec<Submitted>, SubmitError> {
        let fleet = self.fleet().await?;
        let mut journaled = vec![false; submissions.len()];
        for (journaled, job) in journaled.iter_mut().zip(&mut submissions) {
            *journaled = self.durability(&fleet, &job.queue) == Durability::Journaled;
            job.envelope.options.journaled |= *journaled;
        }
        let unplaced = |(number, submission)| Unplaced { number, submission, written: None };
        let (kept, plain): (Vec<_>, Vec<_>) =
            submissions.iter().enumerate().map(unplaced).partition(|job| journaled[job.number]);
        let mut told: Vec<Option<Submitted>> = submissions.iter().map(|_| None).collect();
        let placed = Box::pin(self.place(&fleet, plain)).await?;
        // Boxed: most submissions do not go there, and none shall be as large as that.
        let kept = Box::pin(self.submit_journaled(&fleet, &kept)).await?;
        for (number, submitted) in placed.into_iter().chain(kept) {
            told[number] = Some(submitted);
        }
        Ok(told.into_iter().map(|told| told.expect("every job is answered for")).collect())
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
        let tag = choose(&self.queues().await?, queue, None, 0);
        self.submitter.add(&self.options.keys.partition(&tag), crate::job::Priority::Normal, bytes).await?;
        Ok(())
    }
}
