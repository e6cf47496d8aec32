//! Every kind of job of the travel service: the one list.

use engine::{
    handler::KindSpec,
    job::{Kind, QueueName},
    registry::{Registry, RegistryError},
};

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
    let (timeout, attempts) = (spec.timeout.as_secs(), spec.retry.max_attempts);
    format!(
        "{:<20} queue {:<12} {attempts} attempts of at most {timeout} s{batch}",
        spec.kind.as_str(),
        spec.queue.as_str()
    )
}

/// The README's table of kinds.
pub fn markdown_table() -> String {
    let mut table = String::from("| kind | queue | attempts | time limit | together |\n|---|---|---|---|---|\n");
    for spec in registry().specs() {
        let batch = spec.batch.map_or_else(|| "–".to_owned(), |(max, _)| format!("up to {max} jobs"));
        let (attempts, timeout) = (spec.retry.max_attempts, spec.timeout.as_secs());
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
}
