//! The suites that drive the engine, run again: under MONITOR, in a cluster, with Dragonfly's manners, on a Dragonfly.

use std::{process::Output, time::Duration};

use harness::{Manners, Pace, RedisServer, Servers, conformance::Dragonfly, resp::Resp};
use tokio::{process::Command, sync::Mutex};

/// The modules of this binary whose tests drive the engine.
const SUITES: [&str; 5] = ["jobs::", "enqueue::", "cache::", "search::", "memory::"];

/// One at a time: each of them fills the machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// One run of them; the slowest machine that was seen took less than this for the first.
static RUN: Pace = Pace::new(Duration::from_secs(300));

/// Runs the suites against another server and asserts that they pass.
async fn suites_pass_on(url: &str) {
    let _turn = TURN.lock().await;
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.args(SUITES).args(["--skip", "dragonfly::", "--test-threads", "8"]);
    run.env("TRIPSAGE_DRAGONFLY_URL", url).env("TRIPSAGE_DB_URL", &Servers::get().database_url);
    let ended = RUN.time(run.kill_on_drop(true).output()).await;
    let Output { status, stdout, stderr } = ended.expect("the suites end").unwrap();
    let told = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "on {url}:\n{told}\n{}", String::from_utf8_lossy(&stderr));
    let n_passed = told.split("test result: ok. ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(n_passed.is_some_and(|n_passed| n_passed >= 15), "it ran the suites:\n{told}");
}

/// Collects what MONITOR tells until the server goes.
async fn watch(mut connection: Resp) -> Vec<String> {
    let mut log = Vec::new();
    while let Ok(line) = connection.line().await {
        log.push(line);
    }
    log
}

#[tokio::test]
async fn every_command_that_is_sent_is_one_that_dragonfly_has() {
    let mut server = RedisServer::start(&[]).await;
    let mut monitor = server.connect().await;
    assert_eq!(monitor.ask(&["MONITOR"]).await.unwrap(), "OK");
    let mut watching = tokio::task::JoinSet::new();
    watching.spawn(watch(monitor));
    suites_pass_on(&server.url()).await;
    let stats = server.connect().await.ask(&["INFO", "commandstats"]).await.unwrap();
    server.kill();
    let log = watching.join_next().await.unwrap().unwrap();

    let dragonfly = Dragonfly::default();
    let violations = dragonfly.violations(log.iter().map(String::as_str));
    assert!(violations.is_empty(), "{violations:#?}");
    let hidden = dragonfly.uncalled_for(&stats.replace("cmdstat_monitor:", ""));
    assert!(hidden.is_empty(), "{hidden:#?}");
    for seen in ["\"EVALSHA\"", "\"XADD\"", "\"XREADGROUP\" \"GROUP\"", "lua] \"XCLAIM\"", "lua] \"XACK\""] {
        assert!(log.iter().any(|line| line.contains(seen)), "{seen} was not seen: the log is not the suites'");
    }
}

#[tokio::test]
async fn no_command_or_script_crosses_hash_tags_in_a_cluster() {
    match Servers::cluster_url() {
        Some(url) => suites_pass_on(&url).await,
        None => suites_pass_on(&RedisServer::cluster().await.url()).await,
    }
}

#[tokio::test]
async fn scripts_take_dragonflys_answers() {
    let server = RedisServer::start(&[]).await;
    let manners = Manners::before(server.port()).await;
    suites_pass_on(manners.url()).await;
}

/// The proxy is as strict as the server: a script that passes through it stops no Dragonfly.
#[tokio::test]
async fn a_script_that_calls_what_is_not_safe_gets_no_answer_and_nobody_else_does_from_then_on() {
    let server = RedisServer::start(&[]).await;
    let manners = Manners::before(server.port()).await;
    let (mut caller, mut other) =
        (Resp::connect(manners.port()).await.unwrap(), Resp::connect(manners.port()).await.unwrap());
    let safe = caller.ask(&["SCRIPT", "LOAD", "return redis.call('XLEN', KEYS[1])"]).await.unwrap();
    assert_eq!(caller.ask(&["EVALSHA", &safe, "1", "k"]).await.unwrap(), "0");
    assert_eq!(other.ask(&["PING"]).await.unwrap(), "PONG");

    let script = "return redis.pcall('XINFO', 'CONSUMERS', KEYS[1], 'g')";
    let digest = caller.ask(&["SCRIPT", "LOAD", script]).await.unwrap();
    assert!(is_silent(caller.ask(&["EVALSHA", &digest, "1", "k"])).await);
    assert!(is_silent(other.ask(&["PING"])).await, "a connection of before");
    let mut later = Resp::connect(manners.port()).await.unwrap();
    assert!(is_silent(later.ask(&["PING"])).await, "a new connection");
    assert_eq!(server.connect().await.ask(&["PING"]).await.unwrap(), "PONG", "the server behind it is well");
}

/// Whether a question gets no answer in a time in which it would get one many times over, and nobody hangs up.
async fn is_silent(question: impl Future<Output = std::io::Result<String>>) -> bool {
    tokio::time::timeout(Duration::from_millis(500), question).await.is_err()
}

/// The ways to run a Dragonfly that the service is fit for: as the compose file does, and others that operators choose.
const DRAGONFLIES: [&[&str]; 6] = [
    &["--cluster_mode=emulated", "--lock_on_hashtags", "--proactor_threads=2", "--dbfilename="],
    &["--cluster_mode=emulated", "--lock_on_hashtags", "--proactor_threads=1", "--dbfilename="],
    &["--cluster_mode=emulated", "--lock_on_hashtags", "--proactor_threads=4", "--dbfilename="],
    &["--proactor_threads=2", "--dbfilename="],
    &["--proactor_threads=1", "--dbfilename="],
    &[
        "--cluster_mode=emulated",
        "--lock_on_hashtags",
        "--proactor_threads=2",
        "--maxmemory=512mb",
        "--dbfilename=dump",
        "--dir=.",
        "--snapshot_cron=* * * * *",
    ],
];

#[tokio::test]
#[allow(clippy::print_stdout, reason = "says that it tested nothing")]
async fn the_suites_pass_on_a_real_dragonfly_however_it_is_run() {
    for options in DRAGONFLIES {
        match RedisServer::dragonfly(options).await {
            Some(server) => suites_pass_on(&server.url()).await,
            None => return println!("skipped: there is no `dragonfly` on PATH"),
        }
    }
}
