//! `tripsage kinds`: what can be submitted.

use crate::kinds;

/// Prints a line a kind.
pub fn run(json: bool) {
    let registry = kinds::registry();
    for spec in registry.specs() {
        if json {
            let (timeout_s, max_attempts) = (spec.timeout.as_secs(), spec.retry.usual.max_attempts);
            let line = serde_json::json!({
                "kind": spec.kind, "queue": spec.queue, "timeout_s": timeout_s, "max_attempts": max_attempts,
                "batch": spec.batch.map(|(max, _)| max),
                "retries": kinds::retry_json(spec)
            });
            println!("{line}");
        } else {
            println!("{}", kinds::line(spec));
            kinds::retry_lines(spec).iter().for_each(|line| println!("{line}"));
        }
    }
}
