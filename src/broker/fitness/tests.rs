//! Tests of what follows from what servers say.

use super::*;

fn dragonfly(version: &'static str) -> Fitness {
    let said = format!("redis_version:7.4.0\r\ndragonfly_version:{version}\r\n");
    let version = ServerVersion::parse(&said);
    Fitness { version, eviction: Eviction::Never, locks_tags: Some(true), snapshots: Snapshots::Kept }
}

/// The only warning there is.
fn warning(fitness: &Fitness) -> String {
    let warnings = fitness.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings.concat()
}

#[test]
fn whatever_may_evict_is_refused_by_its_name_and_what_is_unknown_is_not() {
    let refusal = |memory: &str| Fitness { eviction: eviction(memory), ..dragonfly("df-v1.40.1") }.refusal();
    for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
        let refused = refusal(&format!("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:{policy}\r\n"));
        let refused = refused.expect("refused, whether or not memory is bounded");
        assert!(refused.contains(&format!("`{policy}`")), "{refused}");
        assert!(refused.contains("CONFIG SET maxmemory-policy noeviction"), "{refused}");
    }
    let refused = refusal("maxmemory_policy:eviction\r\ncache_mode:cache\r\n").expect("a cache is refused");
    assert!(refused.contains("--cache_mode=false") && !refused.contains("CONFIG SET"), "{refused}");
    for fit in ["maxmemory_policy:noeviction\r\n", "cache_mode:store\r\nmaxmemory_policy:noeviction\r\n", "", "x:y"] {
        assert_eq!(refusal(fit), None, "{fit}");
    }
}

#[test]
fn a_dragonfly_as_it_should_be_gives_no_warning_and_neither_does_what_is_unknown() {
    for version in ["df-v1.40.1", "v1.40.0", "df-v1.41.0-17-gabcdef", "df-v2.0.0"] {
        assert_eq!(dragonfly(version).warnings(), Vec::<String>::new(), "{version}");
    }
    let silent = Fitness {
        eviction: Eviction::Unknown,
        locks_tags: None,
        snapshots: Snapshots::Unknown,
        ..dragonfly("df-v1.40.1")
    };
    assert_eq!((silent.warnings(), silent.refusal()), (Vec::new(), None));
}

#[test]
fn an_old_version_and_one_that_cannot_be_read_are_told_apart() {
    let old = warning(&dragonfly("df-v1.9.0"));
    assert!(old.contains("df-v1.9.0 is older than v1.40"), "{old}");
    for unknown in ["df-HEAD-HASH-NOTFOUND", "df-dev", ""] {
        assert!(warning(&dragonfly(unknown)).contains("cannot be read"), "{unknown}");
    }
}

#[test]
fn tags_that_are_not_locked_are_told_with_the_flags_that_lock_them() {
    let unlocked = Fitness { locks_tags: Some(false), ..dragonfly("df-v1.40.1") };
    assert!(warning(&unlocked).contains("--lock_on_hashtags"));
}

#[test]
fn what_a_server_keeps_is_read_from_its_parameters() {
    assert_eq!(of_dragonfly(Some("dump"), Some("*/5 * * * *")), Snapshots::Kept);
    assert_eq!(of_dragonfly(Some("dump-{timestamp}"), Some("")), Snapshots::AtStop);
    assert_eq!(of_dragonfly(Some(""), Some("*/5 * * * *")), Snapshots::None, "there is nowhere to save to");
    assert_eq!(of_dragonfly(None, Some("*/5 * * * *")), Snapshots::Unknown);
    assert_eq!(of_dragonfly(Some("dump"), None), Snapshots::Unknown);
    assert_eq!(of_redis(Some(true), None), Snapshots::Kept);
    assert_eq!(of_redis(Some(false), Some("3600 1 300 100")), Snapshots::Kept);
    assert_eq!(of_redis(Some(false), Some("")), Snapshots::None);
    assert_eq!(of_redis(Some(false), None), Snapshots::Unknown, "CONFIG is refused by managed servers");
    assert_eq!(of_redis(None, Some("")), Snapshots::Unknown);
}

#[test]
fn each_way_to_lose_what_was_accepted_says_what_to_set() {
    for (snapshots, says) in [(Snapshots::None, "--dbfilename=dump"), (Snapshots::AtStop, "--snapshot_cron")] {
        let fitness = Fitness { snapshots, ..dragonfly("df-v1.40.1") };
        assert!(warning(&fitness).contains(says), "{snapshots:?}");
    }
    let version = ServerVersion::parse("redis_version:7.0.15\r\n");
    let redis = Fitness { version, snapshots: Snapshots::None, locks_tags: None, ..dragonfly("df-v1.40.1") };
    assert!(warning(&redis).contains("appendonly yes"));
}
