//! Where settings come from: files, the environment, names that others use, and which of them wins.

use std::time::Duration;

use engine::config::Loader;

use super::{Folder, MACHINE, Settings, load};

#[test]
fn names_are_read_in_any_case_and_empty_means_not_set() {
    let settings =
        load(&[("tripsage_api_port", "9000"), ("Tripsage_Debug", "TRUE"), ("TRIPSAGE_DB_POOL_SIZE", "")]).unwrap();
    assert_eq!(settings.application.api_port, 9000);
    assert!(settings.application.debug);
    assert_eq!(settings.database.pool_size, 20);
}

#[test]
fn later_sources_win_defaults_profile_file_dotenv_environment() {
    let folder = Folder::new("order");
    let file = folder.file("settings.toml", "[database]\npool_size = 3\npool_overflow = 3\nrecycle_seconds = 300\n[worker]\nqueues = [\"search\", \"cache\"]\n");
    let dotenv = folder.file(
        ".env",
        &format!(
            "TRIPSAGE_CONFIG_FILE='{}'\ntripsage_db_pool_overflow=4\nTRIPSAGE_DB_RECYCLE_SECONDS=400\n",
            file.display()
        ),
    );
    let loader = Loader::new(MACHINE)
        .dotenv(dotenv)
        .environment([("TRIPSAGE_DB_RECYCLE_SECONDS", "500"), ("TRIPSAGE_ENVIRONMENT", "testing")]);
    let settings = Settings::load(loader).unwrap();
    assert_eq!(settings.database.acquire_timeout, Duration::from_secs(30), "the default");
    assert_eq!(settings.log.level, "warn", "the profile");
    assert_eq!(settings.database.pool_size, 3, "the file over the profile");
    assert_eq!(settings.database.pool_overflow, 4, ".env over the file");
    assert_eq!(settings.database.recycle, Duration::from_secs(500), "the environment over .env");
    assert_eq!(settings.worker.queues, ["search", "cache"]);
    let source = |name: &str| settings.shown.iter().find(|row| row.name == name).unwrap().source.clone();
    assert_eq!(source("TRIPSAGE_LOG_LEVEL"), "profile testing");
    assert_eq!(source("TRIPSAGE_DB_POOL_SIZE"), file.display().to_string());
    assert_eq!(source("TRIPSAGE_WORKER_CONCURRENCY"), "machine");
}

#[test]
fn a_broken_file_is_told_without_quoting_it() {
    let folder = Folder::new("broken");
    let toml = folder.file("a.toml", "[database]\nurl = \"postgres://ada:hunter2@db\nx");
    let dotenv = folder.file(".env", "TRIPSAGE_DEBUG=true\nhunter2 is here\n");
    let told = Settings::load(Loader::new(MACHINE).file(toml).dotenv(dotenv)).err().unwrap().to_string();
    assert!(told.contains("a.toml: the settings file is not valid TOML") && told.contains("line 2"), "{told}");
    assert!(told.contains(".env: line 2 is not NAME=value"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(Settings::load(Loader::new(MACHINE).file(folder.0.join("none.toml"))).is_err());
    assert!(Settings::load(Loader::new(MACHINE).dotenv(folder.0.join("none"))).is_ok());
}

#[test]
fn a_typo_in_a_settings_file_stops_the_start() {
    let folder = Folder::new("typo");
    let file = folder.file("a.toml", "[databse]\nurl = \"postgres://ada:hunter2@db/x\"\n");
    let told = Settings::load(Loader::new(MACHINE).file(file)).err().unwrap().to_string();
    assert!(
        told.contains("databse.url") && told.contains("did you mean database.url?") && !told.contains("hunter2"),
        "{told}"
    );
}

#[test]
fn dragonfly_is_found_under_the_names_that_others_use_when_ours_is_unset() {
    let url = |pairs: &[(&str, &str)]| load(pairs).unwrap().dragonfly.url.expose().to_owned();
    assert_eq!(url(&[("REDIS_URL", "redis://r")]), "redis://r");
    assert_eq!(url(&[("REDIS_URL", "redis://r"), ("DRAGONFLY_URL", "redis://d")]), "redis://d");
    assert_eq!(url(&[("DRAGONFLY_URL", "redis://d"), ("TRIPSAGE_DRAGONFLY_URL", "redis://t")]), "redis://t");
}
