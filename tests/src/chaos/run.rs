//! Plays scenarios, several at a time, and says how they went.

use std::{panic::AssertUnwindSafe, path::Path};

use anyhow::bail;
use engine::policy::Durability;
use futures::{FutureExt, StreamExt, stream};
use uuid::Uuid;

use super::{
    judge::{Verdict, judge},
    report::Line,
    scenario::{Ending, SCENARIOS, Scenario},
    stage::{Size, Stage},
    tally::Evidence,
};
use crate::wait::SETUP;

/// What to play.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of scenarios; all when empty.
    pub names: Vec<String>,
    /// How often each.
    pub runs: usize,
    /// Small loads and short outages.
    pub short: bool,
    /// How many at the same time.
    pub parallel: usize,
}

enum Played {
    Judged(Verdict),
    Skipped(String),
}

/// Plays them; `told` hears of the beginning and the end of each. The lines come in the scenarios' order.
pub async fn run_all(plan: &Plan, told: impl Fn(String)) -> Vec<Line> {
    let chosen = SCENARIOS
        .iter()
        .filter(|scenario| plan.names.is_empty() || plan.names.iter().any(|name| name == scenario.name));
    let parts = chosen.flat_map(|scenario| scenario.durabilities.iter().map(move |&durability| (scenario, durability)));
    let lines = parts.enumerate().map(async |(place, part)| (place, line(part, plan, &told).await));
    let mut lines: Vec<(usize, Line)> = stream::iter(lines).buffer_unordered(plan.parallel.max(1)).collect().await;
    lines.sort_by_key(|(place, _)| *place);
    lines.into_iter().map(|(_, line)| line).collect()
}

async fn line((scenario, durability): (&'static Scenario, Durability), plan: &Plan, told: &impl Fn(String)) -> Line {
    let mut line = Line::new(scenario.name, durability);
    let size = if plan.short { Size::SHORT } else { Size::FULL };
    for run in 1..=plan.runs.max(1) {
        told(format!("{} ({durability}), run {run}: {}", scenario.name, scenario.promise));
        let folder = std::env::temp_dir().join(format!("tripsage-chaos-{}-{}", scenario.name, Uuid::now_v7().simple()));
        let begun = std::time::Instant::now();
        let played = guarded((scenario, durability), size, &folder).await;
        let took = begun.elapsed().as_secs_f32();
        match played {
            Ok(Played::Skipped(why)) => {
                told(format!("{}: skipped: {why}", scenario.name));
                line.skipped = Some(why);
            }
            Ok(Played::Judged(verdict)) => {
                let how = if verdict.wrong.is_empty() { "kept" } else { "BROKEN" };
                told(format!("{} ({durability}), run {run}: {how} after {took:.1} s", scenario.name));
                line.add(verdict);
            }
            Err(error) => line.add(Verdict { wrong: vec![format!("{error:#}")], ..Verdict::default() }),
        }
        if line.wrong.is_empty() {
            drop(std::fs::remove_dir_all(&folder)); // what is left in the temporary folder harms nobody
        } else {
            told(format!("{}: {}; its logs are in {}", scenario.name, line.wrong.join("; "), folder.display()));
            break;
        }
    }
    line
}

/// A harness panics where a test would fail: that is this scenario's failure, not the program's.
async fn guarded(part: (&Scenario, Durability), size: Size, folder: &Path) -> anyhow::Result<Played> {
    match AssertUnwindSafe(play(part, size, folder)).catch_unwind().await {
        Ok(played) => played,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            bail!("panicked: {}", text.unwrap_or_else(|| "see above".to_owned()))
        }
    }
}

async fn play((scenario, durability): (&Scenario, Durability), size: Size, folder: &Path) -> anyhow::Result<Played> {
    std::fs::create_dir_all(folder)?;
    let set = SETUP.time(Box::pin(Stage::set(size, durability, scenario.home, folder))).await;
    let mut stage =
        set.map_err(|limit| anyhow::anyhow!("its servers and database are not there after {limit:?}"))??;
    let play = match (scenario.play)(&mut stage).await? {
        Ending::Skipped(why) => return Ok(Played::Skipped(why)),
        Ending::Played(play) => play,
    };
    let rested = stage.rest().await?;
    let evidence = Evidence::gather(&stage).await?;
    Ok(Played::Judged(judge((scenario, durability, size.patience), (play, rested), &evidence)))
}
