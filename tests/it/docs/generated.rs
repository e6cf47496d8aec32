//! What is made from the code and lies in the repository: tables, schemas, the template of settings.
//! With `UPDATE=1` these tests write; without, they compare.

use std::{collections::BTreeSet, path::Path};

use harness::{Servers, file, repository};

use crate::layers::sources;

const HOW: &str = "is not what the code says; `make docs` writes it anew";

/// Compares a file with what the code says, or writes it.
fn hold(path: &str, wanted: &str) {
    let whole = repository().join(path);
    if Servers::update() {
        std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
        return std::fs::write(whole, wanted).unwrap();
    }
    assert!(std::fs::read_to_string(whole).unwrap_or_default() == wanted, "{path} {HOW}");
}

/// The text with the part between `<!-- table: name -->` and `<!-- end -->` replaced.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- table: {name} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("a table's end");
    format!("{before}{begin}{}\n<!-- end -->{after}", table.trim_end())
}

fn rust_example() -> String {
    let text = file("tests/it/docs/readme_client.rs");
    let (_, rest) = text.split_once("// readme: begin\n").unwrap();
    let (code, _) = rest.split_once("// readme: end").unwrap();
    format!("```rust\n{code}```")
}

/// A line for every source: what its head says that it is.
fn code_map(folder: &str) -> String {
    let mut lines = String::new();
    for path in sources(folder, "rs") {
        let inside = path.strip_prefix(repository()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        let head = head.join(" ");
        let sentence = head.split_once(". ").map_or(head.as_str(), |(first, _)| first).trim_end_matches('.');
        lines.push_str(&format!("- `{inside}`: {sentence}\n"));
    }
    lines
}

#[test]
fn the_code_map_matches_the_sources() {
    let (text, folders) = (file("ARCHITECTURE.md"), ["src", "workers/src", "tests/src", "tests/it", "benches/src"]);
    let map = |text: String, folder: &&str| with_table(&text, &format!("map of {folder}"), &code_map(folder));
    hold("ARCHITECTURE.md", &folders.iter().fold(text, map));
}

#[test]
fn every_test_that_the_architecture_names_exists() {
    let code: String = ["src", "workers/src", "tests/it", "deploy/dev"]
        .iter()
        .flat_map(|folder| [sources(folder, "rs"), sources(folder, "py")].concat())
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let text = file("ARCHITECTURE.md");
    let (_, invariants) = text.split_once("\n## What never happens").expect("the section of invariants");
    let invariants = invariants.split("\n## ").next().unwrap();
    let is_name = |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let named: Vec<&str> = invariants.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 12, "{named:?}");
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "no test is called {name}");
    }
    for line in invariants.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
        assert!(line.contains('`'), "an invariant without its test: {line}");
    }
}

#[test]
fn the_readmes_tables_match_the_code() {
    let tables = [
        ("kinds", workers::kinds::markdown_table()),
        ("keys", engine::keys::markdown_table()),
        ("settings", workers::settings::markdown_table()),
        ("metrics", engine::telemetry::metrics::markdown_table()),
        ("rust example", rust_example()),
    ];
    let readme = file("README.md");
    let wanted = tables.iter().fold(readme.clone(), |text, (name, table)| with_table(&text, name, table));
    assert_eq!(readme.matches("<!-- table:").count(), tables.len(), "a table that nothing writes");
    hold("README.md", &wanted);
}

#[test]
fn the_schemas_match_the_code() {
    let schemas = workers::schemas::all();
    for (name, text) in &schemas {
        hold(&format!("schemas/{name}"), text);
    }
    let wanted: BTreeSet<String> = schemas.into_iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(repository().join("schemas")).unwrap() {
        let path = entry.unwrap().path();
        if !wanted.contains(name(&path)) {
            assert!(Servers::update(), "{} {HOW}", path.display());
            std::fs::remove_file(&path).unwrap();
        }
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn the_template_of_settings_matches_the_code() {
    hold(".env.example", &workers::settings::env_example());
}
