//! Lists the jobs of a queue by state, and brings a delayed one forward.

use serde::Serialize;

use super::{
    Operator, OperatorError,
    find::{Corner, Seen, Stand},
    state::{JobState, Live, live},
};
use crate::{
    broker::{
        hasten,
        sightings::{self, PAGE},
    },
    job::{JobId, Priority, QueueName},
    keys::RELEASED,
};

/// Which jobs are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Delayed and retrying ones, the earliest due first.
    Delayed,
    /// Ready ones, in the order in which each partition hands them out.
    Waiting,
    /// Those that workers have, the longest held first.
    Running,
}

/// A job in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Which job.
    pub id: JobId,
    /// When a delayed one is due, milliseconds since 1970 by the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// Since when a waiting or running one is, milliseconds since 1970 by the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Who has a running one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The job.
    #[serde(flatten)]
    pub job: Live,
}

/// What became of an order to run a delayed job now.
#[derive(Clone, Debug)]
pub enum Hastened {
    /// It is ready.
    Ready,
    /// It does not wait for its time: this is where it is.
    NotDelayed(Box<JobState>),
}

impl Operator {
    /// Jobs of a queue that are in this state, at most `limit`.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn list(&self, queue: &QueueName, which: Listing, limit: usize) -> Result<Vec<Listed>, OperatorError> {
        let now_ms = self.connection.now_ms().await?;
        let mut listed = Vec::new();
        for corner in self.corners(Some(queue)) {
            let seen = match which {
                Listing::Delayed => self.delayed(&corner, limit).await?,
                Listing::Waiting => self.waiting(&corner, limit).await?,
                Listing::Running => self.running(&corner, limit).await?,
            };
            listed.extend(seen.iter().map(|seen| self::listed(seen, now_ms)));
        }
        listed.sort_by_key(|job| (job.due_ms, job.since_ms));
        listed.truncate(limit);
        Ok(listed)
    }

    async fn delayed(&self, corner: &Corner, limit: usize) -> Result<Vec<Seen>, OperatorError> {
        let mut seen = Vec::new();
        while seen.len() < limit {
            let wanted = (limit - seen.len()).min(PAGE);
            let page = sightings::delayed_page(&self.connection, &corner.keys, (seen.len(), wanted)).await?;
            let n_found = page.len();
            seen.extend(page.into_iter().map(|delayed| corner.delayed(delayed)));
            if n_found < wanted {
                break;
            }
        }
        Ok(seen)
    }

    /// What was handed back waits too, and goes first.
    pub(super) async fn waiting(&self, corner: &Corner, limit: usize) -> Result<Vec<Seen>, OperatorError> {
        let mut seen = self.held(corner, limit, |consumer| consumer == RELEASED).await?;
        for priority in Priority::ALL {
            let lane = (&corner.keys, priority);
            let mut after = sightings::last_delivered(&self.connection, lane).await?;
            while seen.len() < limit {
                let from = format!("({after}");
                let page = sightings::entries(&self.connection, lane, (&from, "+"), limit - seen.len()).await?;
                let Some(last) = page.last() else { break };
                after = last.id.as_str().to_owned();
                seen.extend(page.into_iter().map(|entry| corner.entry(entry, None)));
            }
        }
        Ok(seen)
    }

    async fn running(&self, corner: &Corner, limit: usize) -> Result<Vec<Seen>, OperatorError> {
        self.held(corner, limit, |consumer| consumer != RELEASED).await
    }

    async fn held(
        &self,
        corner: &Corner,
        limit: usize,
        is_meant: fn(&str) -> bool,
    ) -> Result<Vec<Seen>, OperatorError> {
        let mut seen = Vec::new();
        for priority in Priority::ALL {
            let lane = (&corner.keys, priority);
            let mut from = "-".to_owned();
            while seen.len() < limit {
                let page = sightings::holds(&self.connection, lane, (&from, "+"), PAGE).await?;
                let Some(last) = page.last() else { break };
                from = format!("({}", last.entry.as_str());
                let meant = page.into_iter().filter(|hold| is_meant(&hold.consumer)).take(limit - seen.len());
                for hold in meant {
                    let at = hold.entry.as_str().to_owned();
                    let mut found = sightings::entries(&self.connection, lane, (&at, &at), 1).await?;
                    seen.extend(found.pop().map(|entry| corner.entry(entry, Some(hold))));
                }
            }
        }
        Ok(seen)
    }

    /// Runs a delayed or retrying job now.
    ///
    /// # Errors
    /// [`OperatorError`]; where Dragonfly's memory is full the job stays where it is.
    pub async fn run_now(&self, id: JobId) -> Result<Hastened, OperatorError> {
        if let Some(Seen { stand: Stand::Later(delayed), envelope: Some(mut envelope), keys, .. }) =
            self.find(id).await?
        {
            // What says "not before" would send it back.
            envelope.options.run_at_ms = None;
            if hasten(&self.connection, &keys, &delayed, &envelope).await? {
                return Ok(Hastened::Ready);
            }
        }
        self.state(id).await.map(|state| Hastened::NotDelayed(Box::new(state)))
    }
}

fn listed(seen: &Seen, now_ms: u64) -> Listed {
    let (due_ms, since_ms) = match &seen.stand {
        Stand::Later(delayed) => (Some(delayed.due_ms), None),
        Stand::Journal(journaled) => (None, Some(journaled.accepted_ms)),
        Stand::Stream(_, Some(hold)) if hold.consumer != RELEASED => (None, Some(now_ms.saturating_sub(hold.idle_ms))),
        Stand::Stream(entry, _) => (None, Some(entry.id.ms())),
    };
    let worker = seen.hold().map(|hold| hold.consumer.clone());
    Listed { id: seen.id, due_ms, since_ms, worker, job: live(seen) }
}
