//! Every fault in a short form, and the document that says what was promised.

use std::{collections::BTreeSet, io::Write};

use harness::{
    chaos::{Plan, SCENARIOS, run_all, table},
    file,
};

/// Most of a scenario is waiting for a lease or an outage to pass.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "a test that fails tells what it saw")]
async fn every_fault_in_its_short_form_breaks_no_promise() {
    let plan = Plan { names: Vec::new(), runs: 1, short: true, parallel: AT_ONCE };
    let lines = run_all(&plan, |told| println!("{told}")).await;
    println!("{}", table(&lines));
    let broken: Vec<_> = lines.iter().filter(|line| !line.wrong.is_empty()).collect();
    for line in &broken {
        // Past the test harness, which keeps it for the very end: a log that was cut short tells it too.
        writeln!(std::io::stdout(), "{} ({}): {}", line.scenario, line.durability, line.wrong.join("; ")).unwrap();
    }
    assert!(broken.is_empty(), "{broken:#?}");
    let n_played = lines.iter().filter(|line| line.runs > 0).count();
    assert!(n_played + 2 >= lines.len(), "this machine can make all faults but two at most: {n_played}");
}

#[test]
fn the_document_of_guarantees_names_every_scenario_and_no_other() {
    let text = file("docs/guarantees.md");
    let promises = text.split("<!-- table:").next().unwrap();
    let quoted: BTreeSet<&str> = promises.split('`').skip(1).step_by(2).collect();
    let known: BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let named: BTreeSet<&str> = quoted.iter().copied().filter(|word| is_scenario(word)).collect();
    assert_eq!(named, known, "docs/guarantees.md and the scenarios, see `make chaos ARGS=--list`");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let told: BTreeSet<&str> = rows.filter(|word| is_scenario(word)).collect();
    assert_eq!(told, known, "the latest table: `make chaos ARGS=--write-docs`");
}

/// Scenarios are words joined by hyphens; nothing else in the document is.
fn is_scenario(word: &str) -> bool {
    word.contains('-') && !word.starts_with('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}
