//! The scripts as they are written, and their callers.

use harness::{conformance::Dragonfly, repository};

/// Every script with its name.
fn scripts() -> Vec<(String, String)> {
    let folder = std::fs::read_dir(repository().join("src/broker")).unwrap();
    let paths =
        folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "lua"));
    let named = |path: std::path::PathBuf| {
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
    };
    paths.map(named).collect()
}

fn rust(name: &str) -> String {
    std::fs::read_to_string(repository().join(format!("src/broker/{name}.rs"))).unwrap()
}

#[test]
fn every_script_would_run_on_dragonfly_as_it_does_on_redis() {
    let dragonfly = Dragonfly::default();
    // One asks on purpose what becomes of a key that was not declared.
    for (name, source) in scripts().into_iter().filter(|(name, _)| name != "tag_lock") {
        assert_eq!(dragonfly.violations_in_script(&source), Vec::<String>::new(), "{name}.lua");
    }
}

#[test]
fn every_script_has_one_caller_which_declares_as_many_keys_as_its_header_names() {
    let scripts = scripts();
    assert!(scripts.len() >= 10);
    for (name, source) in scripts {
        let caller = rust(&name);
        assert!(caller.contains(&format!("include_str!(\"{name}.lua\")")), "{name}.lua has its caller in {name}.rs");
        let n_calls = caller.matches(".run(").count() + caller.matches(".run_on(").count();
        assert_eq!(n_calls, 1, "{name}.lua is called in one place");
        let header: String = source.lines().take_while(|line| line.starts_with("--")).collect();
        let keys = header.split("KEYS").nth(1).unwrap().split("ARGV").next().unwrap();
        let n_keys = keys.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).count();
        let highest = (1..=9).rev().find(|n| source.contains(&format!("KEYS[{n}]"))).unwrap_or(3);
        assert!(highest <= n_keys, "{name}.lua uses KEYS[{highest}], its header names {n_keys}");
    }
}

#[test]
fn a_script_call_stays_short() {
    const { assert!(engine::broker::MAX_PER_SCRIPT <= 128) };
    for name in ["cancel", "enqueue", "promote", "reclaim", "redrive", "release", "settle", "strays"] {
        assert!(rust(name).contains("MAX_PER_SCRIPT"), "{name}.rs bounds what one call handles");
    }
}
