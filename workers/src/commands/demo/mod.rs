//! placeholder until the demonstration is merged
use crate::{app::App, cli::DemoArgs};
/// run
/// # Errors
/// e
pub async fn run(_app: &App, _args: &DemoArgs) -> anyhow::Result<()> {
    Ok(())
}
