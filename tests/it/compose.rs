//! The compose files and the Dockerfile as they are written: no engine is needed to hold them to what they promise.

use std::{collections::BTreeSet, process::Command};

use harness::{file, repository};
use yaml_rust2::{Yaml, YamlLoader};

/// A file with its anchors resolved.
fn parsed(path: &str) -> Yaml {
    YamlLoader::load_from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}")).remove(0)
}

fn services(path: &str) -> Vec<(String, Yaml)> {
    let file = parsed(path);
    let services = file["services"].as_hash().unwrap_or_else(|| panic!("{path} has no services"));
    services.iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone())).collect()
}

fn service(name: &str) -> Yaml {
    services("docker-compose.yml").into_iter().find(|(found, _)| found == name).unwrap().1
}

/// What a service says itself, or by its merge key `<<`.
fn field<'a>(service: &'a Yaml, name: &str) -> &'a Yaml {
    if service[name].is_badvalue() { &service["<<"][name] } else { &service[name] }
}

/// The value that a `${NAME:-value}` has where nothing sets the name.
fn unset(text: &str) -> &str {
    text.split_once(":-").and_then(|(_, rest)| rest.strip_suffix('}')).unwrap_or(text)
}

fn words(yaml: &Yaml) -> Vec<&str> {
    yaml.as_vec().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

fn environment(name: &str, variable: &str) -> String {
    field(&service(name), "environment")[variable].as_str().unwrap_or_default().to_owned()
}

#[test]
fn one_service_builds_the_image_that_both_run_and_nobody_pulls_it() {
    let (worker, migrate) = (service("worker"), service("migrate"));
    assert_eq!(field(&worker, "build").as_str(), Some("."));
    assert!(field(&migrate, "build").is_badvalue(), "two builds of one tag at the same time can fail");
    assert_eq!(field(&worker, "image"), field(&migrate, "image"));
    for service in [&worker, &migrate] {
        assert_eq!(field(service, "pull_policy").as_str(), Some("never"));
    }
}

#[test]
fn no_start_makes_a_folder_in_the_repository() {
    let tracked = Command::new("git").args(["ls-files"]).current_dir(repository()).output().unwrap();
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    let mut n_folders = 0;
    for (name, service) in services("docker-compose.yml") {
        for volume in field(&service, "volumes").as_vec().into_iter().flatten() {
            if let Some(volume) = volume.as_str() {
                assert!(!volume.starts_with(['.', '/', '$']), "{name}: `{volume}` would be made, as root's");
                continue;
            }
            assert_eq!(volume["bind"]["create_host_path"].as_bool(), Some(false), "{name}: {volume:?}");
            let folder = unset(volume["source"].as_str().unwrap()).trim_start_matches("./");
            assert!(tracked.lines().any(|path| path.starts_with(&format!("{folder}/"))), "{name}: git has no {folder}");
            n_folders += 1;
        }
    }
    assert_eq!(n_folders, 2, "the model's folder, of both services");
}

#[test]
fn the_local_model_is_one_setting_and_a_folder() {
    let asked: BTreeSet<String> = ["worker", "migrate"]
        .iter()
        .flat_map(|name| field(&service(name), "environment").as_hash().unwrap().clone())
        .map(|(name, _)| name.as_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<String> = workers::settings::variables().into_iter().map(|row| row.name).collect();
    assert!(asked.is_subset(&known), "{asked:?}");
    assert!(!asked.iter().any(|name| name.ends_with("DIMENSIONS")), "they follow the model");
    let folder = environment("worker", "TRIPSAGE_MEM0_LOCAL_MODEL_PATH");
    assert_eq!(unset(&folder), field(&service("worker"), "volumes")[0]["target"].as_str().unwrap());
    assert_eq!(unset(&environment("worker", "TRIPSAGE_MEM0_EMBEDDER")), "openai");
}

#[test]
fn the_password_of_postgres_reaches_the_service_apart_from_the_url() {
    for name in ["worker", "migrate"] {
        let url = environment(name, "TRIPSAGE_DB_URL");
        assert!(!url.contains("PASSWORD") && url.parse::<url::Url>().unwrap().password().is_none(), "{url}");
        assert_eq!(environment(name, "TRIPSAGE_DB_PASSWORD"), environment("postgres", "POSTGRES_PASSWORD"));
    }
}

#[test]
fn a_rootless_engine_can_start_every_service() {
    for (name, service) in services("docker-compose.yml") {
        for raised in ["ulimits", "privileged", "cap_add", "sysctls"] {
            assert!(field(&service, raised).is_badvalue(), "{name}: {raised}");
        }
    }
    let dragonfly = service("dragonfly");
    let epoll = words(&dragonfly["command"]).into_iter().find(|word| word.starts_with("--force_epoll=")).unwrap();
    assert_eq!(unset(epoll), "false", "the server takes epoll by itself where it has to");
}

#[test]
fn a_start_waits_for_the_schema_and_for_no_embedding_endpoint() {
    let (worker, migrate) = (service("worker"), service("migrate"));
    assert_eq!(words(&migrate["command"]), ["migrate", "--skip-places"]);
    assert_eq!(worker["depends_on"]["migrate"]["condition"].as_str(), Some("service_completed_successfully"));
    assert_eq!(migrate["healthcheck"]["disable"].as_bool(), Some(true), "it ends: no worker answers in it");
    assert!(words(&worker["healthcheck"]["test"]).starts_with(&["CMD", "tripsage", "health"]));
}

#[test]
fn the_ports_that_are_opened_for_development_are_this_machines_own() {
    let names: Vec<String> = services("docker-compose.yml").into_iter().map(|(name, _)| name).collect();
    for (name, service) in services("deploy/dev/compose.ports.yml") {
        assert!(names.contains(&name), "{name}");
        assert!(words(&service["ports"]).iter().all(|port| port.starts_with("127.0.0.1::")), "{name}");
    }
    for (name, service) in services("docker-compose.yml") {
        assert!(field(&service, "ports").is_badvalue(), "{name}");
    }
}

/// The sources of a Dockerfile's COPY lines that come from the repository, by stage.
fn copied() -> Vec<(String, Vec<String>)> {
    let mut stages: Vec<(String, Vec<String>)> = Vec::new();
    for line in file("Dockerfile").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", rest @ ..] => stages.push((rest.last().copied().unwrap_or_default().to_owned(), Vec::new())),
            ["COPY", from, ..] if from.starts_with("--from=") => {}
            ["COPY", sources @ .., _] => {
                stages.last_mut().unwrap().1.extend(sources.iter().map(|&source| source.to_owned()));
            }
            _ => {}
        }
    }
    stages
}

#[test]
fn the_build_copies_what_it_reads_and_no_model() {
    let stages = copied();
    let (_, sources) = stages.iter().find(|(stage, _)| stage == "build").unwrap();
    let let_in: Vec<String> =
        file(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    for source in sources {
        assert!(source != "." && !source.contains(".dev"), "`COPY {source}`: a fetched model would rebuild everything");
        assert!(repository().join(source).exists(), "{source}");
        let is_let_in = |known: &String| source == known || source.starts_with(&format!("{known}/"));
        assert!(let_in.iter().any(is_let_in), "{source} is left out by .dockerignore");
    }
    for needed in ["Cargo.toml", "Cargo.lock", "src", "workers", "migrations", "tests/Cargo.toml", "benches/Cargo.toml"]
    {
        assert!(sources.iter().any(|source| source == needed), "{needed} is part of the build");
    }
}
