//! Stopping: told once, seen by every loop.
//!
//! Two moments matter. *Stopping*: take no new work. *Expired*: the drain deadline has passed (or the
//! operator asked a second time): end what still runs. Promise: a loop built on
//! [`Shutdown::run_until_stopped`] ends as soon as it is told, wherever it waits.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Told to stop, and the tasks that have to end before the process may.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stopping: CancellationToken,
    expired: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing is stopping yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` to its end, or gives none as soon as stopping begins.
    pub async fn run_until_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        self.stopping.run_until_cancelled(future).await
    }

    /// Runs `future` to its end, or gives none once the drain deadline has passed.
    pub async fn run_until_expired<F: Future>(&self, future: F) -> Option<F::Output> {
        self.expired.run_until_cancelled(future).await
    }

    /// Begins to stop; saying it twice is the same as once.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Ends the patience with what still runs.
    pub fn expire(&self) {
        self.stopping.cancel();
        self.expired.cancel();
    }

    /// Whether stopping has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Whether the drain deadline has passed.
    pub fn is_expired(&self) -> bool {
        self.expired.is_cancelled()
    }

    /// Ends when stopping begins.
    pub async fn stopped(&self) {
        self.stopping.cancelled().await;
    }

    /// Starts a task that [`Shutdown::finished`] waits for.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Ends when every task started here has ended; call it after stopping.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A shutdown of its own for one group of roles: stops when this one's drain expires, or when told.
    ///
    /// The engine stops intake first and the roles that settle last; each group is one child.
    #[must_use]
    pub fn child(&self) -> Self {
        let expired = self.expired.child_token();
        Self { stopping: expired.child_token(), expired, tasks: TaskTracker::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiting_loop_ends_when_told() {
        let shutdown = Shutdown::new();
        let waiting = shutdown.clone();
        let task = shutdown.spawn(async move { waiting.run_until_stopped(std::future::pending::<()>()).await });
        shutdown.stop();
        assert_eq!(task.await.ok(), Some(None));
        shutdown.finished().await;
    }

    #[tokio::test]
    async fn expiry_reaches_children_and_their_stop_does_not_reach_the_parent() {
        let shutdown = Shutdown::new();
        let child = shutdown.child();
        child.stop();
        assert!(child.is_stopping() && !shutdown.is_stopping());
        let other = shutdown.child();
        shutdown.expire();
        assert!(other.is_stopping() && other.is_expired());
    }
}
