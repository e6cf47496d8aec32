//! The kinds that a worker runs: one list, written in one place.

use std::{collections::HashMap, sync::Arc};

use crate::{
    envelope::Envelope,
    handler::{BatchJob, Batched, Handler, Job, KindSpec, Single},
    job::{BadName, Kind, QueueName},
};

/// The kinds that a worker runs, over the context that they share.
pub struct Registry<C> {
    handlers: HashMap<Kind, Arc<dyn Handler<C>>>,
}

/// A kind that cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its name is not well formed.
    #[error("register a kind: {0}")]
    Name(#[from] BadName),
    /// Another type has the same kind.
    #[error("register the kind `{0}`: it is registered already")]
    Twice(Kind),
}

impl<C: Send + Sync + 'static> Default for Registry<C> {
    fn default() -> Self {
        Self { handlers: HashMap::new() }
    }
}

/// What an envelope's kind is to a worker.
pub(crate) enum Found<C> {
    Known(Arc<dyn Handler<C>>),
    /// An older version of the same kind is known: a newer worker will know this one.
    Newer,
    Unknown,
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// Adds a job.
    ///
    /// # Errors
    /// When its kind is no name or is taken.
    pub fn job<J: Job<Context = C>>(self) -> Result<Self, RegistryError> {
        self.add(Arc::new(Single::<J>::new()))
    }

    /// Adds a batch job.
    ///
    /// # Errors
    /// When its kind is no name or is taken.
    pub fn batch_job<J: BatchJob<Context = C>>(self) -> Result<Self, RegistryError> {
        self.add(Arc::new(Batched::<J>::new()))
    }

    fn add(mut self, handler: Arc<dyn Handler<C>>) -> Result<Self, RegistryError> {
        let kind: Kind = handler.spec().kind.as_str().parse()?;
        let _: QueueName = handler.spec().queue.as_str().parse()?;
        match self.handlers.insert(kind.clone(), handler) {
            Some(_) => Err(RegistryError::Twice(kind)),
            None => Ok(self),
        }
    }

    /// Every kind, in alphabetical order.
    pub fn specs(&self) -> Vec<&KindSpec> {
        let mut specs: Vec<&KindSpec> = self.handlers.values().map(|handler| handler.spec()).collect();
        specs.sort_by(|a, b| a.kind.cmp(&b.kind));
        specs
    }

    /// Every queue that a kind waits in, in alphabetical order.
    pub fn queues(&self) -> Vec<QueueName> {
        let mut queues: Vec<QueueName> = self.handlers.values().map(|handler| handler.spec().queue.clone()).collect();
        queues.sort();
        queues.dedup();
        queues
    }

    /// The kind of this name.
    pub fn spec(&self, kind: &str) -> Option<&KindSpec> {
        self.handlers.values().map(|handler| handler.spec()).find(|spec| spec.kind.as_str() == kind)
    }

    /// Checks an envelope as a worker would before it runs the job.
    ///
    /// # Errors
    /// What is wrong with its kind or its payload.
    pub fn check(&self, envelope: &Envelope) -> Result<(), String> {
        let handler = self.handlers.get(&envelope.kind).ok_or_else(|| format!("no kind `{}`", envelope.kind))?;
        handler.decode(envelope).map(drop)
    }

    pub(crate) fn find(&self, kind: &Kind) -> Found<C> {
        if let Some(handler) = self.handlers.get(kind) {
            return Found::Known(Arc::clone(handler));
        }
        let (base, version) = kind.base_and_version();
        let is_older = |known: &Kind| known.base_and_version().0 == base && known.base_and_version().1 < version;
        if self.handlers.keys().any(is_older) { Found::Newer } else { Found::Unknown }
    }
}
