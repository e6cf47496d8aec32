//! Keeps the latest table in `docs/guarantees.md`.

use crate::{binary::file, servers::repository};

const DOCUMENT: &str = "docs/guarantees.md";
const BEGIN: &str = "<!-- table: chaos -->\n";
const END: &str = "<!-- end -->";

/// Puts a table in the place of the one that is there.
pub fn write_into(table: &str) {
    let text = file(DOCUMENT);
    let (before, rest) = text.split_once(BEGIN).expect("the document has the table's place");
    let (_, after) = rest.split_once(END).expect("the table's place ends");
    let text = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    std::fs::write(repository().join(DOCUMENT), text).unwrap();
}
