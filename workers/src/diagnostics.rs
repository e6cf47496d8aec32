//! A job that proves the way of a job: it says back what it was told, and fails, waits or sleeps when asked.
//!
//! Operators send it through a deployment to see that submission, running, settling and completions work;
//! the demonstration and the benchmark send it too.

use std::time::Duration;

use engine::{
    handler::{Attempt, Job, Output},
    job::QueueName,
    outcome::JobError,
    retry::RetryPolicy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{context::Context, queues::DIAGNOSTICS};

/// Says back what it is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What to say back.
    #[serde(default)]
    pub say: Option<String>,
    /// How long to take, milliseconds.
    #[serde(default)]
    pub sleep_ms: u64,
    /// How many attempts fail first.
    #[serde(default)]
    pub fail_attempts: u32,
    /// Fails every attempt until the job is put back from the dead letters.
    #[serde(default)]
    pub fail_until_redriven: bool,
}

/// What a probe says.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Probed {
    /// What it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say: Option<String>,
    /// The attempt that succeeded.
    pub attempt: u32,
}

impl Output for Probed {}

/// A probe takes at most this long; a longer one would only look like a stuck job.
const LONGEST_MS: u64 = 60_000;

impl Job for Probe {
    const KIND: &'static str = "diagnostics.probe";
    const QUEUE: QueueName = DIAGNOSTICS;
    const TIMEOUT: Duration = Duration::from_secs(65);
    const RETRY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        base: Duration::from_millis(100),
        cap: Duration::from_secs(1),
        ..RetryPolicy::DEFAULT
    };
    type Context = Context;
    type Output = Probed;

    fn validate(&self) -> Result<(), String> {
        if self.sleep_ms > LONGEST_MS {
            return Err(format!("sleep_ms is {}, at most {LONGEST_MS} is allowed", self.sleep_ms));
        }
        Ok(())
    }

    async fn run(self, attempt: &Attempt<Context>) -> Result<Probed, JobError> {
        if self.sleep_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.sleep_ms)).await;
        }
        if self.fail_until_redriven && attempt.n_redriven == 0 {
            return Err(JobError::retry("this probe fails until it is put back from the dead letters").class("probe"));
        }
        if attempt.number <= self.fail_attempts {
            return Err(JobError::retry(format!("this probe fails {} times first", self.fail_attempts)).class("probe"));
        }
        Ok(Probed { say: self.say, attempt: attempt.number })
    }
}
