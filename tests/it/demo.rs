//! The demonstration, small: the binary itself, its two workers, the kill, the report's last line.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use harness::{Fixture, Servers, binary, patience};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};
use url::Url;

const N_MEMORIES: usize = 600;
const N_SEARCHES: usize = 200;
const N_USERS: usize = 20;

fn model_folder() -> PathBuf {
    Servers::model_folder().expect(
        "TRIPSAGE_TEST_MODEL_DIR names no folder: `make test` sets it; `make model` fetches the model into .dev",
    )
}

/// The demonstration on a test's own database, under a key prefix of its own.
fn demo(fixture: &Fixture, dragonfly_url: &str, folder: &Path) -> Command {
    let mut command = Command::new(binary());
    let sizes = [("--memories", N_MEMORIES), ("--searches", N_SEARCHES), ("--users", N_USERS)];
    command.arg("demo").args(sizes.into_iter().flat_map(|(name, size)| [name.to_owned(), size.to_string()]));
    // A folder of its own: neither the developer's .env nor the logs of other runs.
    command.current_dir(folder).env_clear().envs([
        ("TRIPSAGE_DB_URL", fixture.database_url.as_str()),
        ("TRIPSAGE_DRAGONFLY_URL", dragonfly_url),
        ("TRIPSAGE_DRAGONFLY_KEY_PREFIX", fixture.keys.prefix()),
        ("TRIPSAGE_MEM0_EMBEDDER", "local"),
        ("TRIPSAGE_MEM0_LOCAL_MODEL_PATH", model_folder().to_str().unwrap()),
        ("TMPDIR", folder.to_str().unwrap()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("demo-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The processes of the workers, as their names in their logs have them.
fn workers_of(folder: &Path) -> Vec<u32> {
    let runs = std::fs::read_dir(folder).unwrap().map(|run| run.unwrap().path()).filter(|path| path.is_dir());
    let logs = runs.flat_map(|run| std::fs::read_dir(run).unwrap().map(|log| log.unwrap().path()));
    let pids = logs.map(|log| {
        let text = std::fs::read_to_string(log).unwrap();
        let ready = text.lines().find(|line| line.contains("ready for jobs")).unwrap();
        let ready: Value = serde_json::from_str(ready).unwrap();
        let name = ready["worker"].as_str().unwrap();
        name.rsplit('-').nth(1).unwrap().parse().unwrap()
    });
    pids.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_demonstration_leaves_no_worker_behind_and_the_next_one_is_not_disturbed() {
    let fixture = Fixture::new().await;
    interrupted(&fixture).await;
    whole(&fixture).await;
}

async fn interrupted(fixture: &Fixture) {
    let folder = folder();
    let mut child = demo(fixture, &Servers::get().dragonfly_url, &folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().contains("searches, all at once:") {}
    let workers = workers_of(&folder);
    assert_eq!(workers.len(), 2);
    let told = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id().unwrap())]).status().await.unwrap();
    assert!(told.success());
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }
    let status = tokio::time::timeout(patience(), child.wait()).await.unwrap().unwrap();
    assert!(!status.success() && last.contains("interrupted"), "{status}: {last}");
    assert!(workers.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    std::fs::remove_dir_all(folder).unwrap();
}

/// The demonstration settles every job though a worker is killed, and its last line says so to scripts.
async fn whole(fixture: &Fixture) {
    let folder = folder();
    let n_results_before = fixture.number("select count(*) from job_results").await;
    let n_memories_before = fixture.number("select count(*) from memories").await;
    let output = demo(fixture, &Servers::get().dragonfly_url, &folder).output().await.unwrap();
    let (report, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{report}", output.status);
    let last = report.lines().last().unwrap();
    let names = ["submitted", "done", "dead", "lost", "duplicated", "jobs_per_s", "p99_ms", "cache_hit_ratio"];
    let places = names.map(|name| last.find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted(), "the names are in their order: {last}");
    let summary: Value = serde_json::from_str(last).unwrap();
    let number = |name: &str| summary[name].as_f64().unwrap();
    assert!(number("submitted") > 0.0 && summary["submitted"] == summary["done"], "{last}");
    assert_eq!([number("lost"), number("duplicated"), number("dead")], [0.0; 3], "{last}");
    assert!(number("jobs_per_s") > 0.0 && number("p99_ms") > 0.0, "{last}");
    assert!((0.1..1.0).contains(&number("cache_hit_ratio")), "{last}");
    assert!(number("reclaimed") > 0.0 && number("first_reclaimed_s") > 0.0, "{last}");
    // Not only by its own word.
    let n_results = fixture.number("select count(*) from job_results").await - n_results_before;
    assert_eq!(Some(n_results), summary["done"].as_i64());
    assert_eq!(fixture.number("select count(*) from dead_jobs where redriven_at is null").await, 0);
    let n_memories = fixture.number("select count(*) from memories").await - n_memories_before;
    assert!(n_memories > i64::try_from(N_MEMORIES).unwrap(), "{n_memories} memories, Ann's among them");
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demonstration_that_cannot_start_says_why_in_one_line() {
    let (fixture, folder) = (Fixture::new().await, folder());
    let unreachable = Url::parse("redis://127.0.0.1:1/0").unwrap();
    let starting = demo(&fixture, unreachable.as_str(), &folder).output();
    let output = tokio::time::timeout(patience(), starting).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(!output.status.success() && errors.len() == 1, "{said}");
    assert!(errors[0].contains("127.0.0.1:1") && output.stdout.is_empty(), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}
