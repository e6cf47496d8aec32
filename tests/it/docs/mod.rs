//! The documents are held to the code: tables, schemas, commands and examples.
//!
//! `make docs` writes anew what is made from the code; everything else is read here as a user would read it.

mod commands;
mod contract;
mod examples;
mod generated;
mod readme_client;

use harness::file;

/// The README's fenced blocks in a language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let text = file("README.md");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if found == language {
            blocks.push(block.join("\n"));
        }
    }
    assert!(!blocks.is_empty(), "README.md has no block in {language}");
    blocks
}

/// Every word between back quotes outside of fenced blocks.
fn quoted() -> Vec<String> {
    let text = file("README.md");
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}
