//! What is written about settings: the example, the templates, the defaults files, the table.

use std::{collections::BTreeSet, path::PathBuf};

use engine::config::Loader;

use super::{Folder, MACHINE, STRONG, Settings, env_example, markdown_table, variables};

fn root(name: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap()
}

#[test]
fn the_example_lists_every_variable_at_its_default() {
    assert_eq!(
        root(".env.example"),
        env_example(),
        ".env.example has drifted: write the text of settings::env_example() to it"
    );
    let uncommented = env_example()
        .lines()
        .filter_map(|line| line.strip_prefix("# TRIPSAGE_"))
        .map(|line| format!("TRIPSAGE_{line}\n"))
        .collect::<String>();
    let folder = Folder::new("example");
    let settings = Settings::load(Loader::new(MACHINE).dotenv(folder.file(".env", &uncommented))).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let named: BTreeSet<&str> = uncommented.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(named.len(), variables().len());
}

#[test]
fn every_template_loads_for_its_environment_once_its_blanks_are_filled() {
    for name in ["development", "staging", "production", "test"] {
        let filled: Vec<String> = root(&format!(".env.{name}"))
            .lines()
            .map(|line| {
                if line.ends_with('=') && !line.starts_with('#') { format!("{line}{STRONG}") } else { line.to_owned() }
            })
            .collect();
        let folder = Folder::new(&format!("template-{name}"));
        let dotenv = folder.file(".env", &filled.join("\n"));
        let settings = Settings::load(Loader::new(MACHINE).dotenv(dotenv))
            .map_err(|problems| format!("{name}: {problems}"))
            .unwrap();
        assert!(settings.application.environment.name().starts_with(name), "{name}");
        assert!(settings.warnings.is_empty(), "{name}: {:?}", settings.warnings);
    }
}

#[test]
fn the_defaults_files_mention_every_setting() {
    let text = format!("{}\n{}", root("src/config/defaults.toml"), include_str!("../../defaults.toml"));
    for group in engine::config::GROUPS.into_iter().chain(crate::settings::GROUPS) {
        let (_, rest) = text.split_once(&format!("[{}]\n", group.section)).expect(group.section);
        let section = rest.split("\n[").next().unwrap();
        for variable in group.variables {
            let mentioned = section.lines().any(|line| {
                let key = line.trim_start_matches("# ");
                key.starts_with(&format!("{} =", variable.field)) || key.starts_with(&format!("{}:", variable.field))
            });
            assert!(mentioned, "{}.{}", group.section, variable.field);
        }
    }
}

#[test]
fn the_table_has_a_row_for_every_variable() {
    let table = markdown_table();
    for row in variables() {
        assert!(table.contains(&format!("| `{}` |", row.name)), "{}", row.name);
        assert!(!row.meaning.is_empty());
    }
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), variables().len());
    assert!(table.contains("| `TRIPSAGE_DB_AUTO_MIGRATE` | `true`; production: `false` |"), "{table}");
}
