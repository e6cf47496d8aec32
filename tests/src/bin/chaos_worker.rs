//! A worker of the fault harness; `chaos` starts, stops and kills it.

use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::new("info,fred=error,sqlx=error");
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    harness::chaos::work().await
}
