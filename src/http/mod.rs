//! What a worker answers over HTTP: metrics and health.
//!
//! Promise: every check has a time limit, so that an answer always comes. Never shows a payload or a secret.

mod health;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

pub use self::health::{Check, Health, NamedCheck, Report};
use crate::shutdown::Shutdown;

#[derive(Clone)]
struct Answers {
    health: Arc<Health>,
    metrics: PrometheusHandle,
}

/// Answers until told to stop.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: PrometheusHandle,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/health", get(health_report))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(Answers { health, metrics });
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.stopped().await }).await
}

async fn scrape(State(answers): State<Answers>) -> impl IntoResponse {
    answers.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], answers.metrics.render())
}

/// Everything there is to say; 200 even when something is wrong, for it is read by people and dashboards.
async fn health_report(State(answers): State<Answers>) -> impl IntoResponse {
    Json(Box::pin(answers.health.report()).await)
}

/// The process runs, and none of its loops has ended by itself.
async fn live(State(answers): State<Answers>) -> impl IntoResponse {
    let live = answers.health.is_live();
    (status(live), Json(serde_json::json!({ "status": answers.health.life() })))
}

/// It can take jobs: everything it depends on answers.
async fn ready(State(answers): State<Answers>) -> impl IntoResponse {
    let report = Box::pin(answers.health.report()).await;
    (status(report.ready), Json(report))
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
