//! The walls of the house, read from the sources: layers, edges, keys, scripts.
//!
//! The layers stand in one place: the comments of `src/lib.rs` (words, edges, roles, assembly).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness::{file, repository};

const LAYERS: [&str; 4] = ["words", "edges", "roles", "assembly"];

/// module → (its layer's number)
fn layers() -> BTreeMap<String, usize> {
    let mut layer = None;
    let mut found = BTreeMap::new();
    for line in file("src/lib.rs").lines() {
        if let Some(name) = line.strip_prefix("// ") {
            layer = LAYERS.iter().position(|known| *known == name);
        }
        let module = line.trim_start_matches("pub ").strip_prefix("mod ");
        if let (Some(module), Some(layer)) = (module, layer) {
            found.insert(module.trim_end_matches(';').to_owned(), layer);
        }
    }
    assert_eq!(found.values().collect::<std::collections::BTreeSet<_>>().len(), 4, "four layers: {found:?}");
    found
}

/// Every file of a folder with this ending, in order.
pub(crate) fn sources(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A source as the compiler sees it outside of tests: no comments, nothing after `#[cfg(test)]`.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The place in the repository, and for a file of the engine its module.
fn place(path: &Path) -> (String, String) {
    let inside = path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned();
    let module = inside.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_owned();
    (inside, module)
}

/// The modules of its crate that a source names: `crate::x`, `crate::{x, y::{…}}`, and `super::x` in a module's root.
fn named(code: &str, is_root: bool) -> Vec<String> {
    let mut found = Vec::new();
    let roots: &[&str] = if is_root { &["crate::", "super::"] } else { &["crate::"] };
    for root in roots {
        for (position, _) in code.match_indices(root) {
            let rest = &code[position + root.len()..];
            match rest.strip_prefix('{') {
                Some(list) => found.extend(members(list)),
                None => found.push(word(rest)),
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The first words of a braced list's own members.
fn members(list: &str) -> Vec<String> {
    let (mut depth, mut starts) = (0, vec![0]);
    for (position, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(position + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|start| word(&list[start..])).filter(|name| !name.is_empty()).collect()
}

#[test]
fn a_module_names_only_its_own_layer_or_a_lower_one() {
    let layers = layers();
    let mut wrong = Vec::new();
    for path in sources("src", "rs") {
        let (inside, module) = place(&path);
        let Some(own) = layers.get(&module) else { continue };
        let is_root = inside.matches('/').count() == 1 || inside.ends_with("/mod.rs");
        for other in named(&code(&path), is_root) {
            if layers.get(&other).is_some_and(|layer| layer > own) {
                wrong.push(format!("{inside} ({}) names {other} ({})", LAYERS[*own], LAYERS[layers[&other]]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_of_the_engine_has_a_layer() {
    let layers = layers();
    for path in sources("src", "rs") {
        let (inside, module) = place(&path);
        assert!(module == "lib" || layers.contains_key(&module), "{inside}: no layer in src/lib.rs");
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let code =
        "use crate::{broker::{A, b::C}, clock::D};\nuse crate::job::E; let x = crate::store::f(); use super::keys;";
    assert_eq!(named(code, false), ["broker", "clock", "job", "store"]);
    assert!(named(code, true).contains(&"keys".to_owned()));
}

/// Each outside library has one home.
#[test]
fn each_edge_is_named_in_one_place() {
    let homes = [("fred", "src/broker/"), ("sqlx", "src/store/"), ("axum", "src/http/"), ("reqwest", "workers/src/")];
    for (library, home) in homes {
        for path in [sources("src", "rs"), sources("workers/src", "rs")].concat() {
            let (inside, _) = place(&path);
            let code = code(&path);
            let names = [format!("use {library}::"), format!("{library}::")].iter().any(|name| is_path(&code, name));
            assert!(!names || inside.starts_with(home), "{inside} names {library}, whose only home is {home}");
        }
    }
    let (engine, workers) = (dependencies("Cargo.toml"), dependencies("workers/Cargo.toml"));
    assert!(!engine.contains("\nreqwest"), "the engine calls no outside service");
    for library in ["fred", "sqlx", "axum"] {
        assert!(engine.contains(&format!("\n{library}.")) && !workers.contains(&format!("\n{library}.")), "{library}");
    }
}

fn is_path(code: &str, name: &str) -> bool {
    let stands_alone = |at: usize| !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    code.match_indices(name).any(|(at, _)| stands_alone(at))
}

fn dependencies(manifest: &str) -> String {
    let text = file(manifest);
    let (_, rest) = text.split_once("\n[dependencies]").unwrap();
    rest.split("\n[").next().unwrap().to_owned()
}

#[test]
fn the_environment_is_read_by_the_settings_alone() {
    for path in [sources("src", "rs"), sources("workers/src", "rs")].concat() {
        let (inside, _) = place(&path);
        let reads = ["env::var", "env::set_var", "env::remove_var"].iter().any(|call| code(&path).contains(call));
        assert!(!reads || inside.starts_with("src/config/"), "{inside} reads the environment");
    }
}

#[test]
fn keys_are_built_in_one_place() {
    for path in [sources("src", "rs"), sources("workers/src", "rs"), sources("src", "lua")].concat() {
        let (inside, _) = place(&path);
        let builds = code(&path).contains("\"tripsage:");
        assert!(!builds || inside == "src/keys.rs", "{inside} builds a key; keys come from src/keys.rs");
    }
}

#[test]
fn every_script_has_one_caller_of_its_name_and_a_header() {
    let scripts = sources("src", "lua");
    assert!(scripts.len() > 5);
    let callers: Vec<(String, String)> = sources("src", "rs").iter().map(|path| (place(path).0, code(path))).collect();
    for script in scripts {
        let name = script.file_stem().unwrap().to_str().unwrap().to_owned();
        let include = format!("include_str!(\"{name}.lua\")");
        let users: Vec<&(String, String)> = callers.iter().filter(|(_, code)| code.contains(&include)).collect();
        let [(caller, code)] = users[..] else { panic!("{name}.lua has {} callers, not one", users.len()) };
        assert_eq!(caller, &format!("src/broker/{name}.rs"));
        assert!(code.contains(&format!("fn {name}")), "{caller} has no function `{name}`");
        let text = std::fs::read_to_string(&script).unwrap();
        for part in ["-- KEYS", "-- ARGV", "-- Returns"] {
            assert!(text.contains(part), "{name}.lua does not say its {part}");
        }
    }
}

/// The calls of a script or the commands of a source, as text up to the end of the statement.
fn calls(text: &str) -> Vec<String> {
    let starts = text.match_indices("redis.call(").chain(text.match_indices("redis.pcall("));
    starts.map(|(at, _)| text[at..].lines().next().unwrap().to_owned()).collect()
}

#[test]
fn scripts_touch_only_declared_keys() {
    // One asks on purpose what becomes of a key that was not declared; it reads it, no more.
    for script in sources("src", "lua").into_iter().filter(|script| !script.ends_with("tag_lock.lua")) {
        let text = std::fs::read_to_string(&script).unwrap();
        for call in calls(&text) {
            // A key is declared, or stands in a variable that was one; channels are no keys.
            let declared = ["KEYS[", "stream,", "'TIME'", "pcall(ARGV["].iter().any(|sign| call.contains(sign));
            assert!(declared, "{}: {call}", script.display());
        }
    }
}

#[test]
fn no_job_stream_is_ever_trimmed() {
    for path in [sources("src", "lua"), sources("src/broker", "rs")].concat() {
        let code = code(&path);
        for line in code.lines().filter(|line| ["XTRIM", "MAXLEN", "MINID"].iter().any(|word| line.contains(word))) {
            let is_replay = path.ends_with("settle.lua") && line.contains("'XADD', KEYS[8], 'MINID'");
            assert!(is_replay, "only the completions kept for replay are bounded: {}: {line}", path.display());
        }
    }
    let settle = file("src/broker/settle.lua");
    assert!(settle.contains("8 done (stream)"), "KEYS[8] of settle.lua are the completions");
}

#[test]
fn plain_values_always_expire() {
    for path in sources("src/broker", "rs") {
        for line in code(&path).lines().filter(|line| line.contains("\"SET\"")) {
            assert!(path.ends_with("keyspace.rs"), "{}: {line}", path.display());
        }
    }
    let keyspace = code(&repository().join("src/broker/keyspace.rs"));
    assert_eq!(keyspace.matches("\"SET\"").count(), keyspace.matches("text(\"PX\")").count());
}

#[test]
fn what_runs_handlers_knows_no_database() {
    for module in ["runner", "collector", "handler"] {
        let code = code(&repository().join(format!("src/{module}.rs")));
        for word in ["Store,", "store.begin", ".begin()", "PgConnection"] {
            assert!(!code.contains(word), "src/{module}.rs: {word}");
        }
    }
}

#[test]
fn clocks_of_this_machine_are_read_in_one_place() {
    for path in sources("src", "rs") {
        let (inside, _) = place(&path);
        let reads = ["SystemTime::now", "Utc::now"].iter().any(|call| code(&path).contains(call));
        assert!(!reads || inside == "src/clock.rs", "{inside} reads this machine's clock");
    }
}
