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

#[tokio::test]
#[allow(clippy::print_stdout, reason = "says that it tested nothing")]
async fn the_suites_pass_on_a_real_dragonfly() {
    match RedisServer::dragonfly().await {
        Some(server) => suites_pass_on(&server.url()).await,
        None => println!("skipped: there is no `dragonfly` on PATH"),
    }
}
