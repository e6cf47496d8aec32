//! Settings: what loads, what is refused, what is never shown.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod documents;
mod ranges;
mod sources;

use std::{path::PathBuf, time::Duration};

use engine::{
    config::{Hardware, Loader, Problems},
    policy::Durability,
};

use super::{Embedder, Settings, env_example, markdown_table, variables};
use crate::commands::config::{show, show_json};

const MACHINE: Hardware = Hardware { cores: 4, memory_bytes: None };
const STRONG: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978";

fn load(pairs: &[(&str, &str)]) -> Result<Settings, Problems> {
    Settings::load(Loader::new(MACHINE).environment(pairs.iter().copied()))
}

fn problems(pairs: &[(&str, &str)]) -> Problems {
    load(pairs).expect_err("these settings are wrong")
}

/// Settings that production accepts, with some of them changed.
fn production<'a>(changes: &[(&'a str, &'a str)]) -> Result<Settings, Problems> {
    let mut pairs = vec![
        ("TRIPSAGE_ENVIRONMENT", "production"),
        ("TRIPSAGE_JWT_SECRET_KEY", STRONG),
        ("TRIPSAGE_API_KEY_MASTER_SECRET", STRONG),
        ("TRIPSAGE_DB_URL", "postgres://trips@postgres/trips"),
        ("TRIPSAGE_DRAGONFLY_URL", "redis://dragonfly:6379/0"),
        ("TRIPSAGE_EXTERNAL_OPENAI_API_KEY", "sk-1234"),
    ];
    pairs.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    pairs.extend_from_slice(changes);
    load(&pairs)
}

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("settings-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.application.api_port, 8000);
    assert_eq!(settings.application.app_name, "TripSage AI");
    assert_eq!((settings.database.pool_size, settings.database.pool_overflow), (20, 30));
    assert_eq!(settings.database.statement_timeout, Duration::from_secs(60));
    assert_eq!(settings.dragonfly.url.expose(), "redis://localhost:6379/0");
    assert!((settings.worker.retry_budget_ratio - 0.2).abs() < f64::EPSILON);
    assert_eq!(settings.worker.retry_budget_per_second, 10);
    assert_eq!(settings.dragonfly.ttl_ultra_long, Duration::from_secs(604_800));
    assert_eq!(settings.worker.lease, Duration::from_secs(5));
    assert_eq!(settings.worker.durability, Durability::Memory);
    assert_eq!(settings.memory.embedder, Embedder::OpenAi);
    assert!((settings.memory.similarity_threshold - 0.7).abs() < f64::EPSILON);
    assert_eq!(settings.airbnb.cache_ttl, Duration::from_secs(3600));
    assert!(settings.worker.queues.is_empty() && settings.warnings.is_empty());
}

#[test]
fn the_machine_sizes_what_nobody_set() {
    assert_eq!(load(&[]).unwrap().worker.concurrency, 256);
    assert_eq!(production(&[]).unwrap().dragonfly.pool_size, 4);
    assert_eq!(load(&[("TRIPSAGE_WORKER_CONCURRENCY", "7")]).unwrap().worker.concurrency, 7);
}

#[test]
fn partitions_follow_the_servers_threads_unless_set() {
    let partitions = |pairs: &[(&str, &str)]| {
        let settings = load(pairs).unwrap();
        settings.worker.partitions(&settings.dragonfly)
    };
    assert_eq!(partitions(&[("TRIPSAGE_DRAGONFLY_THREAD_COUNT", "8")]), 8);
    assert_eq!(partitions(&[("TRIPSAGE_DRAGONFLY_THREAD_COUNT", "8"), ("TRIPSAGE_WORKER_PARTITIONS", "3")]), 3);
}

#[test]
fn contradictions_name_both_sides() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (
            &[("TRIPSAGE_DB_VECTOR_DIMENSIONS", "1024")],
            "TRIPSAGE_DB_VECTOR_DIMENSIONS and TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS",
        ),
        (&[("TRIPSAGE_DB_PGVECTOR_ENABLED", "no")], "TRIPSAGE_DB_PGVECTOR_ENABLED and TRIPSAGE_MEM0_VECTOR_STORE_TYPE"),
        (&[("TRIPSAGE_DRAGONFLY_TTL_SHORT", "7200")], "TRIPSAGE_DRAGONFLY_TTL_SHORT and TRIPSAGE_DRAGONFLY_TTL_MEDIUM"),
        (
            &[("TRIPSAGE_DRAGONFLY_MAX_CONNECTIONS", "1")],
            "TRIPSAGE_DRAGONFLY_POOL_SIZE and TRIPSAGE_DRAGONFLY_MAX_CONNECTIONS",
        ),
        (
            &[("TRIPSAGE_EXTERNAL_GOOGLE_CLIENT_ID", "x")],
            "TRIPSAGE_EXTERNAL_GOOGLE_CLIENT_ID and TRIPSAGE_EXTERNAL_GOOGLE_CLIENT_SECRET",
        ),
        (&[("TRIPSAGE_DB_SUPABASE_ANON_KEY", "x")], "TRIPSAGE_DB_SUPABASE_ANON_KEY and TRIPSAGE_DB_SUPABASE_URL"),
        (
            &[("TRIPSAGE_DRAGONFLY_URL", "redis://:one@df"), ("TRIPSAGE_DRAGONFLY_PASSWORD", "two")],
            "TRIPSAGE_DRAGONFLY_URL and TRIPSAGE_DRAGONFLY_PASSWORD",
        ),
        (
            &[("TRIPSAGE_DB_URL", "postgres://ada:one@db/trips"), ("TRIPSAGE_DB_PASSWORD", "two")],
            "TRIPSAGE_DB_URL and TRIPSAGE_DB_PASSWORD",
        ),
    ];
    for (pairs, names) in cases {
        let told = problems(pairs);
        assert_eq!(told.problems.len(), 1, "{told}");
        assert_eq!(told.problems.first().unwrap().variable, names);
    }
}

#[test]
fn dimensions_follow_the_model_and_one_that_it_cannot_give_says_both_numbers() {
    let given = |pairs: &[(&str, &str)]| {
        let memory = load(pairs).unwrap().memory;
        (memory.api_dimensions(), memory.asks_for_dimensions())
    };
    let (model, length) = ("TRIPSAGE_MEM0_EMBEDDING_MODEL", "TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS");
    assert_eq!(given(&[]), (1536, false));
    assert_eq!(given(&[(model, "text-embedding-3-large")]), (3072, false));
    assert_eq!(given(&[(model, "text-embedding-3-large"), (length, "1024")]), (1024, true));
    assert_eq!(given(&[(length, "1536")]), (1536, false));
    assert_eq!(given(&[(model, "nomic-embed-text")]), (1536, false));
    assert_eq!(given(&[(model, "nomic-embed-text"), (length, "768")]), (768, true));
    for (name, asked, own) in [("text-embedding-3-small", "2000", "1536"), ("text-embedding-ada-002", "512", "1536")] {
        let told = problems(&[(model, name), (length, asked)]).to_string();
        assert!(told.contains(asked) && told.contains(own) && told.contains("leave it unset"), "{told}");
    }
    let told = problems(&[("TRIPSAGE_DB_VECTOR_DIMENSIONS", "1024")]).to_string();
    assert!(told.contains("1024 is not 1536; leave both unset"), "{told}");
    let local = [("TRIPSAGE_MEM0_EMBEDDER", "local"), ("TRIPSAGE_DB_VECTOR_DIMENSIONS", "256")];
    assert_eq!(load(&local).unwrap().database.vector_dimensions, Some(256), "the model says whether it fits");
}

#[test]
fn what_is_known_but_not_served_is_refused_as_such() {
    for (name, value) in [("TRIPSAGE_MEM0_VECTOR_STORE_TYPE", "qdrant"), ("TRIPSAGE_MEM0_VECTOR_STORE_TYPE", "chroma")]
    {
        let told = problems(&[(name, value)]);
        assert!(told.names(name) && told.to_string().contains("not served by this version"), "{told}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_none_twice() {
    let told = problems(&[
        ("TRIPSAGE_API_PORT", "80"),
        ("TRIPSAGE_DB_URL", "mysql://db/trips"),
        ("TRIPSAGE_DB_VECTOR_DIMENSIONS", "9000"),
        ("TRIPSAGE_LOG_LEVEL", "engine=loud"),
        ("TRIPSAGE_DRAGONFLY_KEY_PREFIX", "{trips}:"),
        ("TRIPSAGE_EXTERNAL_GOOGLE_CLIENT_ID", "x"),
        ("TRIPSAGE_ENVIRONMENT", "prod"),
    ]);
    assert_eq!(told.problems.len(), 7, "{told}");
    assert!(told.to_string().starts_with("7 settings are wrong:"), "{told}");
}

#[test]
fn an_unknown_name_of_ours_is_told_with_the_nearest_one_and_others_are_ignored() {
    let settings =
        load(&[("TRIPSAGE_DB_POOLSIZE", "hunter2"), ("HOME", "/root"), ("TRIPSAGE_ZZZZZZZZZZZZZZZZ", "1")]).unwrap();
    let warnings: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings
            .iter()
            .any(|told| told.starts_with("TRIPSAGE_DB_POOLSIZE: ")
                && told.contains("did you mean TRIPSAGE_DB_POOL_SIZE?"))
    );
    assert!(
        warnings.iter().any(|told| told.starts_with("TRIPSAGE_ZZZZZZZZZZZZZZZZ: ") && !told.contains("did you mean"))
    );
    assert!(!warnings.join("").contains("hunter2") && show(&settings).contains("TRIPSAGE_DB_POOLSIZE"));
    assert!(
        problems(&[("TRIPSAGE_API_PORTS", "1"), ("TRIPSAGE_API_PORT", "1")]).to_string().contains("TRIPSAGE_API_PORTS")
    );
}

#[test]
fn unusual_values_are_warned_about_and_accepted() {
    let settings =
        load(&[("TRIPSAGE_DB_STATEMENT_TIMEOUT_SECONDS", "121"), ("TRIPSAGE_EXTERNAL_DEFAULT_TIMEOUT", "61")]).unwrap();
    assert_eq!(settings.warnings.len(), 2);
    let settings =
        load(&[("TRIPSAGE_DB_STATEMENT_TIMEOUT_SECONDS", "120"), ("TRIPSAGE_EXTERNAL_DEFAULT_TIMEOUT", "60")]).unwrap();
    assert!(settings.warnings.is_empty());
}

#[test]
fn what_is_required_is_asked_for_by_name() {
    let told = problems(&[("TRIPSAGE_ENVIRONMENT", "staging")]);
    for name in ["TRIPSAGE_DB_URL", "TRIPSAGE_JWT_SECRET_KEY", "TRIPSAGE_API_KEY_MASTER_SECRET"] {
        assert!(told.names(name), "{told}");
    }
    assert!(told.to_string().contains("is missing in staging"), "{told}");
}

#[test]
fn production_refuses_what_is_fine_elsewhere() {
    assert!(production(&[]).is_ok());
    let test = format!("{STRONG}Test");
    let develop = format!("{STRONG}DEV");
    for (name, value) in [
        ("TRIPSAGE_DEBUG", "true"),
        ("TRIPSAGE_EXTERNAL_OPENAI_API_KEY", ""),
        ("TRIPSAGE_DB_URL", "postgres://localhost/trips"),
        ("TRIPSAGE_DRAGONFLY_URL", "redis://127.0.0.1:6379"),
        ("TRIPSAGE_JWT_SECRET_KEY", "0f1e2d3c4b5a69788796a5b4c3d2e1f"),
        ("TRIPSAGE_JWT_SECRET_KEY", "development-only-jwt-secret-key-0000"),
        ("TRIPSAGE_JWT_SECRET_KEY", &test),
        ("TRIPSAGE_API_KEY_MASTER_SECRET", &develop),
        ("TRIPSAGE_API_KEY_MASTER_SECRET", ""),
    ] {
        let told = production(&[(name, value)]).err().unwrap();
        assert!(told.names(name) && told.problems.len() == 1, "{name}: {told}");
        assert!(value.len() < 30 || !told.to_string().contains(value), "{told}");
    }
    let dimensions = [
        ("TRIPSAGE_EXTERNAL_OPENAI_API_KEY", ""),
        ("TRIPSAGE_MEM0_EMBEDDER", "local"),
        ("TRIPSAGE_MEM0_LOCAL_MODEL_PATH", "m"),
    ];
    assert!(production(&dimensions).is_ok(), "the local embedder needs no key");
}

#[test]
fn no_secret_is_ever_shown() {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for row in variables().into_iter().filter(|row| row.secret) {
        pairs.push((row.name, "s3cr3t-hunter2".to_owned()));
    }
    assert!(pairs.len() >= 12);
    for (name, value) in [
        ("TRIPSAGE_DB_URL", "postgres://ada:s3cr3t-hunter2@db/trips?sslpassword=hunter2"),
        ("TRIPSAGE_DRAGONFLY_URL", "redis://df:6379/0"),
        ("TRIPSAGE_EXTERNAL_OPENAI_BASE_URL", "https://ada:hunter2@proxy/v1"),
        ("TRIPSAGE_EXTERNAL_GOOGLE_CLIENT_ID", "id"),
        ("TRIPSAGE_DB_SUPABASE_URL", "https://x.supabase.co"),
    ] {
        pairs.push((name.to_owned(), value.to_owned()));
    }
    let settings = Settings::load(Loader::new(MACHINE).environment(pairs.clone())).unwrap();
    let configured = settings.configured();
    assert!(configured.openai && configured.dragonfly_password && configured.database_password);
    let shown = format!("{settings:?} {settings:#?} {} {} {configured:?}", show(&settings), show_json(&settings));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("postgres://ada:***@db/trips"), "{shown}");
    assert_eq!(show_json(&settings)["settings"]["TRIPSAGE_DRAGONFLY_PASSWORD"]["value"], "set");
    assert_eq!(show_json(&load(&[]).unwrap())["settings"]["TRIPSAGE_DRAGONFLY_PASSWORD"]["value"], "not set");

    pairs.push(("TRIPSAGE_ENVIRONMENT".to_owned(), "production".to_owned()));
    pairs.push(("TRIPSAGE_DRAGONFLY_URL".to_owned(), "redis:hunter2//".to_owned()));
    pairs.push(("TRIPSAGE_DB_URL".to_owned(), "ada:hunter2@db".to_owned()));
    let told = Settings::load(Loader::new(MACHINE).environment(pairs)).err().unwrap();
    assert!(told.problems.len() >= 3 && !format!("{told} {told:?}").contains("hunter2"), "{told}");
}
