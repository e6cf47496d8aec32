//! Keeps the latest table in `docs/guarantees.md`.

use super::{run::Plan, stage::Size};
use crate::{binary::file, servers::repository};

const DOCUMENT: &str = "docs/guarantees.md";
const BEGIN: &str = "<!-- table: chaos -->\n";
const END: &str = "<!-- end -->";

/// What the document says of a table: how large the faults were that it tells of.
fn form(plan: &Plan) -> String {
    let (name, size) = if plan.short { ("short", Size::SHORT) } else { ("full", Size::FULL) };
    format!(
        "The {name} form: {} jobs a second, a lease of {} s, outages of {} s, {} scenarios at the same time.",
        size.rate,
        size.lease.as_secs(),
        size.outage.as_secs(),
        plan.parallel
    )
}

/// Puts a table in the place of the one that is there, and says what form of the scenarios it shows.
pub fn write_into(plan: &Plan, table: &str) {
    let table = format!("{}\n\n{table}", form(plan));
    let text = file(DOCUMENT);
    let (before, rest) = text.split_once(BEGIN).expect("the document has the table's place");
    let (_, after) = rest.split_once(END).expect("the table's place ends");
    let text = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    std::fs::write(repository().join(DOCUMENT), text).unwrap();
}
