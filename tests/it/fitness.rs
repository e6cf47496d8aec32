//! What a worker's start and `config check` say about a server that is not as it should be.

use engine::{
    broker::{Address, Connection, Fitness, ServerVersion},
    keys::Keys,
};
use harness::{Fixture, RedisServer, WorkerProcess};
use serde_json::Value;

/// What the check finds out from this server.
async fn fitness(server: &RedisServer) -> Fitness {
    let connection = Connection::open(&Address::parse(&server.url(), None).unwrap()).await.unwrap();
    let version = ServerVersion::of(&connection).await.unwrap();
    Fitness::of(&connection, &Keys::new("test:"), version).await.unwrap()
}

#[tokio::test]
async fn a_server_that_may_evict_is_refused_by_worker_and_check_and_by_no_other_command() {
    let server = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let fixture = Fixture::on(&server.url()).await;
    let worker = fixture.run(&["worker", "--port", "0"]).await;
    assert!(!worker.success && worker.stdout.is_empty(), "{worker:?}");
    let message = worker.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    let at = format!("use the server at 127.0.0.1:{}", server.port());
    for told in [at.as_str(), "`allkeys-lru`", "expected `noeviction`", "CONFIG SET maxmemory-policy noeviction"] {
        assert!(message.contains(told), "`{told}` is not in: {message}");
    }
    let check = fixture.run(&["config", "check"]).await;
    assert!(!check.success && check.stdout.contains("FAILED  Dragonfly: "), "{check:?}");
    assert!(check.stdout.contains("`allkeys-lru`"), "{check:?}");
    let queues = fixture.run(&["queues"]).await;
    assert!(queues.success && !queues.stderr.contains("evict"), "{queues:?}");

    let set = server.connect().await.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await.unwrap();
    assert_eq!(set, "OK", "what the message said to do");
    WorkerProcess::start(&fixture, &[("TRIPSAGE_WORKER_QUEUES", "diagnostics")]).await.stop().await;
}

#[tokio::test]
async fn a_server_that_keeps_nothing_is_a_warning_at_start_and_in_the_check() {
    let server = RedisServer::start(&[]).await;
    let fixture = Fixture::on(&server.url()).await;
    let check = fixture.run(&["config", "check"]).await;
    let warned = check.stdout.lines().filter(|line| line.starts_with("warning ")).count();
    assert!(check.success && warned == 1 && check.stdout.contains("appendonly yes"), "{check:?}");
    let found = fixture.run(&["config", "check", "--json"]).await.json();
    let of = |name: &str| found.as_array().unwrap().iter().find(|line| line["name"] == name).unwrap().clone();
    assert_eq!(of("Dragonfly")["warnings"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(of("Postgres")["warnings"], Value::Array(Vec::new()));

    let worker = WorkerProcess::start(&fixture, &[("TRIPSAGE_WORKER_QUEUES", "diagnostics")]).await;
    let warnings: Vec<&String> = worker.beginning.iter().filter(|line| line.contains("\"WARN\"")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("appendonly yes"), "{:?}", worker.beginning);
    assert!(worker.stop().await.0);
}

#[tokio::test]
async fn a_server_that_keeps_what_it_has_or_refuses_to_say_is_no_warning() {
    let save = ["--save", "3600 1"];
    for options in [&["--appendonly", "yes"][..], &save, &["--rename-command", "CONFIG", ""]] {
        let server = RedisServer::start(options).await;
        let fitness = fitness(&server).await;
        assert_eq!((fitness.refusal(), fitness.warnings()), (None, Vec::new()), "{options:?}");
    }
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "says that it tested nothing")]
async fn a_real_dragonfly_says_what_the_check_asks() {
    let Some(bare) = RedisServer::dragonfly(&["--proactor_threads=2", "--dbfilename="]).await else {
        return println!("skipped: there is no `dragonfly` on PATH");
    };
    let warnings = fitness(&bare).await.warnings().join("\n");
    for told in ["--lock_on_hashtags", "--snapshot_cron"] {
        assert!(warnings.contains(told), "`{told}` is not in: {warnings}");
    }
    let cache = RedisServer::dragonfly(&["--proactor_threads=2", "--cache_mode=true", "--dbfilename="]).await.unwrap();
    assert!(fitness(&cache).await.refusal().is_some_and(|refusal| refusal.contains("--cache_mode=false")));
    let kept = ["--dbfilename=dump", "--dir=.", "--snapshot_cron=*/5 * * * *"];
    for flags in [&["--lock_on_hashtags"][..], &["--cluster_mode=emulated"]] {
        let good = RedisServer::dragonfly(&[&kept, flags].concat()).await.unwrap();
        let fitness = fitness(&good).await;
        assert_eq!((fitness.refusal(), fitness.warnings()), (None, Vec::new()), "{flags:?}");
    }
}
