//! Settings that are numbers: their ranges, at the edges and beyond.

use engine::config::{Problems, Shape};

use super::{Settings, load, problems, variables};

/// Settings under which a value at the edge of its range contradicts no other one.
fn with_room(name: &str, value: &str) -> Result<Settings, Problems> {
    let mut pairs = vec![(name, value)];
    match name {
        "TRIPSAGE_DB_VECTOR_DIMENSIONS" => pairs.push(("TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS", value)),
        "TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS" => pairs.push(("TRIPSAGE_DB_VECTOR_DIMENSIONS", value)),
        "TRIPSAGE_DRAGONFLY_MAX_CONNECTIONS" => pairs.push(("TRIPSAGE_DRAGONFLY_POOL_SIZE", "1")),
        _ => {}
    }
    if name.ends_with("DIMENSIONS") {
        pairs.extend([("TRIPSAGE_MEM0_EMBEDDER", "local"), ("TRIPSAGE_MEM0_LOCAL_MODEL_PATH", "model")]);
    }
    if name.starts_with("TRIPSAGE_DRAGONFLY_TTL") {
        let ttls = [
            "TRIPSAGE_DRAGONFLY_TTL_SHORT",
            "TRIPSAGE_DRAGONFLY_TTL_MEDIUM",
            "TRIPSAGE_DRAGONFLY_TTL_LONG",
            "TRIPSAGE_DRAGONFLY_TTL_ULTRA_LONG",
        ];
        pairs = ttls.into_iter().map(|ttl| (ttl, value)).collect();
    }
    load(&pairs)
}

#[test]
fn every_range_holds_at_both_edges_and_is_named_beyond_them() {
    let groups = engine::config::GROUPS.into_iter().chain(crate::settings::GROUPS);
    for (group, variable) in groups.flat_map(|group| group.variables.iter().map(move |variable| (group, variable))) {
        let name = group.name(variable.field);
        let (inside, outside) = match variable.shape {
            Shape::Integer { min, max } => {
                let below = i128::from(min) - 1;
                ([min.to_string(), max.to_string()], [below.to_string(), (max + 1).to_string()])
            }
            Shape::Decimal { min, max } => {
                ([min.to_string(), max.to_string()], [(min - 0.001).to_string(), (max + 0.001).to_string()])
            }
            _ => continue,
        };
        for value in inside {
            with_room(&name, &value).map_err(|problems| format!("{name}={value}: {problems}")).unwrap();
        }
        for value in outside.iter().map(String::as_str).chain(["many"]) {
            let told = with_room(&name, value).expect_err(&name).to_string();
            assert!(told.contains(&format!("{name}: `{value}`")) && told.contains(&variable.range()), "{told}");
        }
    }
}

#[test]
fn the_ranges_are_those_that_were_agreed() {
    let agreed = [
        ("TRIPSAGE_API_PORT", "1024..65535"),
        ("TRIPSAGE_DB_STATEMENT_TIMEOUT_SECONDS", "1..300"),
        ("TRIPSAGE_DRAGONFLY_MAX_CONNECTIONS", "1..50000"),
        ("TRIPSAGE_DRAGONFLY_THREAD_COUNT", "1..16"),
        ("TRIPSAGE_MEM0_MAX_MEMORIES_PER_USER", "100..10000"),
        ("TRIPSAGE_MEM0_SIMILARITY_THRESHOLD", "0.1..1.0"),
        ("TRIPSAGE_MEM0_MAX_SEARCH_RESULTS", "1..50"),
        ("TRIPSAGE_EXTERNAL_DEFAULT_TIMEOUT", "5..120"),
        ("TRIPSAGE_EXTERNAL_MAX_RETRIES", "0..10"),
        ("TRIPSAGE_AIRBNB_MCP_TIMEOUT_SECONDS", "5..120"),
        ("TRIPSAGE_AIRBNB_MCP_CACHE_TTL", "300..86400"),
        ("TRIPSAGE_AIRBNB_MCP_RATE_LIMIT_PER_MINUTE", "10..1000"),
        ("TRIPSAGE_WORKER_CONCURRENCY", "1..10000"),
        ("TRIPSAGE_WORKER_LEASE_MS", "1000..60000"),
        ("TRIPSAGE_WORKER_MAX_PAYLOAD_BYTES", "1024..16777216"),
        ("TRIPSAGE_WORKER_SETTLE_BATCH", "1..2048"),
    ];
    let rows = variables();
    for (name, range) in agreed {
        assert_eq!(rows.iter().find(|row| row.name == name).map(|row| row.range.as_str()), Some(range), "{name}");
    }
}

#[test]
fn short_vectors_are_for_local_models_only() {
    let dimensions = [("TRIPSAGE_DB_VECTOR_DIMENSIONS", "256"), ("TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS", "256")];
    let told = problems(&dimensions);
    assert!(told.names("TRIPSAGE_DB_VECTOR_DIMENSIONS") && told.names("TRIPSAGE_MEM0_EMBEDDING_DIMENSIONS"));
    assert!(told.to_string().contains("512..3072"), "{told}");
    let mut local = dimensions.to_vec();
    local.extend([("TRIPSAGE_MEM0_EMBEDDER", "local"), ("TRIPSAGE_MEM0_LOCAL_MODEL_PATH", "model")]);
    assert_eq!(load(&local).unwrap().database.vector_dimensions, Some(256));
}
