//! What is made from the code and lies in the repository: tables, schemas, the template of settings.
//! With `UPDATE=1` these tests write; without, they compare.

use std::{collections::BTreeSet, path::Path};

use harness::{Servers, file, repository};

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
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("README.md lacks {begin}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("a table's end");
    format!("{before}{begin}{}\n<!-- end -->{after}", table.trim_end())
}

fn rust_example() -> String {
    let text = file("tests/it/docs/readme_client.rs");
    let (_, rest) = text.split_once("// readme: begin\n").unwrap();
    let (code, _) = rest.split_once("// readme: end").unwrap();
    format!("```rust\n{code}```")
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
