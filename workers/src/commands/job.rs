//! `tripsage job`: what became of a job.

use engine::{
    job::JobId,
    store::{DeadFilter, Store},
};

use crate::app::App;

/// Prints a job's result, or why it is dead, or that it is not settled.
///
/// # Errors
/// When Postgres cannot be asked.
pub async fn run(app: &App, id: JobId, json: bool) -> anyhow::Result<()> {
    let state = state(&app.store().await?, id).await?;
    if json {
        println!("{state}");
    } else {
        println!("{}", serde_json::to_string_pretty(&state)?);
    }
    Ok(())
}

async fn state(store: &Store, id: JobId) -> anyhow::Result<serde_json::Value> {
    if let Some(stored) = store.results(&[id]).await?.remove(&id) {
        let (timings, attempt, worker) = (stored.timings, stored.attempt, stored.worker);
        return Ok(serde_json::json!({
            "id": id, "status": "done", "attempt": attempt, "worker": worker, "timings": timings, "result": stored.result
        }));
    }
    let dead = store.dead_jobs(&DeadFilter { id: Some(id), ..DeadFilter::default() }, 1).await?;
    Ok(match dead.first() {
        Some(job) => serde_json::json!({
            "id": id, "status": job.status, "kind": job.kind, "attempt": job.attempt, "class": job.class,
            "error": job.error, "died_at": job.died_at, "next": format!("tripsage dead show {id}")
        }),
        None => serde_json::json!({
            "id": id, "status": "unsettled", "meaning": "waiting, delayed, running, or never submitted here"
        }),
    })
}
