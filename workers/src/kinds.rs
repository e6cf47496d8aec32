//! Every kind of job of the travel service: the one list.

use std::time::Duration;

use engine::{
    handler::KindSpec,
    job::{Kind, QueueName},
    registry::{Registry, RegistryError},
    retry::{Backoff, Jitter, RetryPolicy},
};
use serde_json::{Value, json};

use crate::{
    cache::WarmCache,
    context::Context,
    diagnostics::Probe,
    memory::{AddMemories, SearchMemories},
    search::{RecallMemories, SearchPlaces},
};

/// Every kind.
pub fn registry() -> Registry<Context> {
    every_kind().expect("kinds are well formed and different; a test holds them to it")
}

fn every_kind() -> Result<Registry<Context>, RegistryError> {
    Registry::default()
        .job::<Probe>()?
        .batch_job::<AddMemories>()?
        .job::<SearchMemories>()?
        .job::<SearchPlaces>()?
        .job::<RecallMemories>()?
        .job::<WarmCache>()
}

/// Which queue each kind waits in.
pub fn queues_by_kind() -> Vec<(Kind, QueueName)> {
    registry().specs().into_iter().map(|spec| (spec.kind.clone(), spec.queue.clone())).collect()
}

/// A kind in one line.
pub fn line(spec: &KindSpec) -> String {
    let batch = spec.batch.map_or_else(String::new, |(max, _)| format!(", up to {max} together"));
    let (timeout, attempts) = (spec.timeout.as_secs(), spec.retry.usual.max_attempts);
    format!(
        "{:<20} queue {:<12} {attempts} attempts of at most {timeout} s{batch}",
        spec.kind.as_str(),
        spec.queue.as_str()
    )
}

/// The kind's retry table: a line for each class of error that has its own policy, and one for all others.
pub fn retry_lines(spec: &KindSpec) -> Vec<String> {
    spec.retry
        .rows()
        .map(|(class, policy)| format!("    {:<14} {}", class.unwrap_or("any other"), told(policy)))
        .collect()
}

fn told(policy: &RetryPolicy) -> String {
    if policy.max_attempts <= 1 {
        return "never again".to_owned();
    }
    let within = policy.max_age.map_or_else(String::new, |age| format!(" within {age:?}"));
    let grows = match policy.backoff {
        Backoff::Exponential { factor } => format!(" times {factor}"),
        Backoff::Linear => " more each time".to_owned(),
        Backoff::Fixed => " each time".to_owned(),
    };
    let RetryPolicy { max_attempts, base, cap, .. } = policy;
    format!(
        "{max_attempts} attempts{within}; waits of {base:?}{grows}, at most {cap:?}, {} jitter",
        jitter(policy.jitter)
    )
}

fn jitter(jitter: Jitter) -> &'static str {
    match jitter {
        Jitter::Full => "full",
        Jitter::Equal => "equal",
        Jitter::Decorrelated => "decorrelated",
        Jitter::None => "no",
    }
}

/// The kind's retry table for scripts; the row without a class is for all others.
pub fn retry_json(spec: &KindSpec) -> Value {
    let seconds = Duration::as_secs_f64;
    let row = |(class, policy): (Option<&str>, &RetryPolicy)| {
        let (backoff, factor) = match policy.backoff {
            Backoff::Exponential { factor } => ("exponential", Some(factor)),
            Backoff::Linear => ("linear", None),
            Backoff::Fixed => ("fixed", None),
        };
        json!({
            "class": class, "max_attempts": policy.max_attempts, "max_age_s": policy.max_age.as_ref().map(seconds),
            "backoff": backoff, "factor": factor, "base_s": seconds(&policy.base), "cap_s": seconds(&policy.cap),
            "jitter": jitter(policy.jitter)
        })
    };
    spec.retry.rows().map(row).collect()
}

/// The README's table of kinds.
pub fn markdown_table() -> String {
    let mut table = String::from("| kind | queue | attempts | time limit | together |\n|---|---|---|---|---|\n");
    for spec in registry().specs() {
        let batch = spec.batch.map_or_else(|| "–".to_owned(), |(max, _)| format!("up to {max} jobs"));
        let (attempts, timeout) = (spec.retry.usual.max_attempts, spec.timeout.as_secs());
        table.push_str(&format!("| `{}` | `{}` | {attempts} | {timeout} s | {batch} |\n", spec.kind, spec.queue));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_registered_and_in_the_table() {
        let registry = registry();
        assert!(registry.specs().iter().all(|spec| markdown_table().contains(spec.kind.as_str())));
    }

    #[test]
    fn every_class_of_error_with_a_policy_of_its_own_is_shown() {
        let registry = registry();
        let shown: Vec<String> = registry.specs().into_iter().flat_map(retry_lines).collect();
        assert!(shown.iter().any(|line| line.contains("rate_limited") && line.contains("decorrelated")), "{shown:?}");
        let add = registry.specs().into_iter().find(|spec| spec.kind.as_str() == "memory.add").expect("a kind");
        let rows = retry_json(add);
        assert_eq!(rows[0]["class"], "rate_limited");
        assert_eq!(rows.as_array().and_then(|rows| rows.last()).expect("rows")["class"], Value::Null);
    }
}
