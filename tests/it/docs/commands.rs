//! Every command that the documents name exists.

use clap::Parser as _;
use harness::file;
use workers::cli::Cli;

use super::{blocks, quoted};

/// Splits a line as a shell does, as far as the documents need it: words, single and double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "an open quote in: {line}");
    words.extend(word);
    words
}

fn targets() -> Vec<String> {
    let makefile = file("Makefile");
    let rules = makefile.lines().filter(|line| line.contains(": ") && line.contains("## "));
    rules.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

/// A line is a command that exists, with options that exist.
fn check(line: &str) {
    let words = words(line);
    match words.first().map(String::as_str) {
        Some("make") => {
            for target in words[1..].iter().filter(|word| !word.contains('=')) {
                assert!(targets().contains(target), "no such target: {line}");
            }
        }
        Some("tripsage") => {
            let filled = words.iter().map(|word| word.replace("<id>", "0198c0de-0000-7000-8000-000000000001"));
            if let Err(error) = Cli::try_parse_from(filled) {
                panic!("{line}: {error}");
            }
        }
        Some("redis-cli" | "docker" | "cargo" | "git") => {} // run by the examples' tests, or not ours
        first => panic!("a document's command that no test knows: {first:?} in: {line}"),
    }
}

#[test]
fn every_command_in_a_block_exists() {
    for block in blocks("sh") {
        block.lines().filter(|line| !line.trim().is_empty()).for_each(check);
    }
}

#[test]
fn every_command_in_the_text_exists() {
    let commands = quoted().into_iter().filter(|text| text.starts_with("make ") || text.starts_with("tripsage "));
    let commands: Vec<String> = commands.collect();
    assert!(commands.len() > 10, "the README names its commands: {commands:?}");
    commands.iter().for_each(|line| check(line));
    let help = file("CONTRIBUTING.md");
    let named = help.split('`').skip(1).step_by(2).filter(|text| text.starts_with("make "));
    named.for_each(check);
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    for line in ["make tea", "tripsage enqeue x", "tripsage dead list --sinse 1", "sudo reboot"] {
        assert!(std::panic::catch_unwind(|| check(line)).is_err(), "{line}");
    }
}

#[test]
fn every_variable_that_the_documents_name_is_a_setting() {
    let known: Vec<String> = workers::settings::variables().into_iter().map(|row| row.name).collect();
    let text = [file("README.md"), file("CONTRIBUTING.md"), file("ARCHITECTURE.md")].concat();
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let named = text.split(|c| !is_part(c)).filter(|word| word.starts_with("TRIPSAGE_") && !word.ends_with('_'));
    for name in named.filter(|name| !name.starts_with("TRIPSAGE_TEST_")) {
        assert!(known.iter().any(|known| known == name), "{name} is no setting");
    }
}
