//! The repository itself: no stubs, no sleeping tests, migrations that go both ways, every file with its head.

use std::{collections::BTreeSet, process::Command};

use engine::store::Store;
use harness::{database, empty_database, repository};
use sqlx::PgPool;
use uuid::Uuid;

/// Every file that is kept in git, or is about to be.
fn tracked() -> Vec<String> {
    let words = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(words).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|path| repository().join(path).exists()).map(str::to_owned).collect()
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["#[ig", "nore"]];
    let words: Vec<String> = words.iter().map(|parts| parts.concat()).collect();
    for path in tracked().iter().filter(|path| !path.starts_with("workers/data/")) {
        let Ok(text) = std::fs::read_to_string(repository().join(path)) else { continue };
        let found: Vec<&String> = words.iter().filter(|word| text.contains(word.as_str())).collect();
        assert!(found.is_empty(), "{path}: {found:?}");
    }
}

#[test]
fn every_source_says_what_it_is() {
    for path in tracked().iter().filter(|path| path.ends_with(".rs")) {
        let text = std::fs::read_to_string(repository().join(path)).unwrap();
        assert!(text.starts_with("//!"), "{path} does not begin with `//!`: what it is, what it promises");
    }
}

#[test]
fn every_migration_goes_both_ways() {
    let names: BTreeSet<String> =
        tracked().into_iter().filter(|path| path.starts_with("migrations/") && path.ends_with(".sql")).collect();
    for name in &names {
        let other = match name.strip_suffix(".up.sql") {
            Some(stem) => format!("{stem}.down.sql"),
            None => name.replace(".down.sql", ".up.sql"),
        };
        assert!(names.contains(&other), "{name} has no {other}");
    }
}

/// Everything in the schema but the list of migrations: relations, columns, indexes, constraints, functions.
async fn schema(pool: &PgPool) -> Vec<String> {
    let objects = "
        select 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(' ' || column_default, '')
          from information_schema.columns where table_schema = 'public' and table_name <> '_sqlx_migrations'
        union all select 'index ' || indexdef from pg_indexes where schemaname = 'public' and tablename <> '_sqlx_migrations'
        union all select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
          from pg_constraint where connamespace = 'public'::regnamespace and conrelid::regclass::text <> '_sqlx_migrations'
        union all select 'function ' || p.oid::regprocedure from pg_proc p where pronamespace = 'public'::regnamespace
          and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
        order by 1";
    sqlx::query_scalar(objects).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again() {
    let url = empty_database(&format!("updown_{}", Uuid::now_v7().simple())).await;
    let (store, pool) = (Store::connect(&database(&url)).await.unwrap(), PgPool::connect(&url).await.unwrap());
    store.migrate().await.unwrap();
    let up = schema(&pool).await;
    assert!(up.iter().any(|object| object.starts_with("column job_results.id")), "{up:?}");
    store.migrate_down(0).await.unwrap();
    assert_eq!(schema(&pool).await, Vec::<String>::new(), "nothing is left behind");
    store.migrate().await.unwrap();
    assert_eq!(schema(&pool).await, up);
}
