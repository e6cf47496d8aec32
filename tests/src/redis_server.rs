//! A server of a test's own: to be watched, filled up, killed and started again.
//!
//! Promise: listens on a free port of this machine alone, writes nothing that outlives it, and ends with the test.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    binary::{bare, said},
    resp::Resp,
    wait::eventually,
};

/// A server of Dragonfly's protocol.
pub struct RedisServer {
    program: PathBuf,
    options: Vec<String>,
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a Valkey or Redis with further options.
    pub async fn start(options: &[&str]) -> Self {
        let program = on_path("valkey-server").or_else(|| on_path("redis-server"));
        let mut all = ["--save", "", "--appendonly", "no"].map(str::to_owned).to_vec();
        all.extend(options.iter().map(|&option| option.to_owned()));
        Self::launch(program.expect("valkey-server or redis-server on PATH"), all).await
    }

    /// Starts a replica of another server, and waits until it has all that the other has.
    pub async fn replica_of(other: &Self) -> Self {
        let replica = Self::start(&[]).await;
        replica.follow(other).await;
        replica
    }

    /// Starts a one-node cluster that has all slots: it refuses commands and scripts that cross hash tags.
    pub async fn cluster() -> Self {
        let server = Self::start(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]).await;
        let mut connection = server.connect().await;
        assert_eq!(connection.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await.unwrap(), "OK");
        eventually("a cluster that serves all slots", async || {
            let info = server.connect().await.ask(&["CLUSTER", "INFO"]).await.ok()?;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
        server
    }

    /// Starts a real Dragonfly with these options, when there is one on PATH.
    pub async fn dragonfly(options: &[&str]) -> Option<Self> {
        let all = options.iter().chain(&["--version_check=false"]).map(|&option| option.to_owned()).collect();
        Some(Self::launch(on_path("dragonfly")?, all).await)
    }

    /// Starts what the service itself runs on where there is one, so that it can be killed and started again: with
    /// nothing, or from the snapshot that it was told to save. A replica of it has to wait for no other.
    pub async fn for_faults() -> Self {
        let Some(program) = on_path("dragonfly") else {
            return Self::start(&["--repl-diskless-sync-delay", "0"]).await;
        };
        let options =
            ["--cluster_mode=emulated", "--lock_on_hashtags", "--proactor_threads=2", "--dbfilename=dump", "--dir=."];
        let all = options.into_iter().chain(["--version_check=false"]).map(str::to_owned).collect();
        Self::launch(program, all).await
    }

    /// Follows another server from now on; has all that the other has when this returns.
    pub async fn follow(&self, other: &Self) {
        let answer = self.connect().await.ask(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]).await;
        assert_eq!(answer.unwrap(), "OK");
        eventually("a replica in step", async || {
            let info = other.connect().await.ask(&["INFO", "replication"]).await.ok()?;
            // As Redis, and as Dragonfly says it.
            ["state=online", "state=stable_sync"].iter().any(|state| info.contains(state)).then_some(())
        })
        .await;
    }

    /// Follows nobody any more: what it has is what there is.
    pub async fn promote(&self) {
        assert_eq!(self.connect().await.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap(), "OK");
    }

    async fn launch(program: PathBuf, options: Vec<String>) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("tripsage-test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { program, options, port, folder, child: None };
        server.start_again().await;
        server
    }

    /// Starts it where it was, empty.
    pub async fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if self.program.ends_with("dragonfly") {
            command.arg(format!("--port={}", self.port)).arg("--bind=127.0.0.1");
        } else {
            command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        }
        self.child = Some(command.args(&self.options).spawn().unwrap());
        let port = self.port;
        eventually("a server that answers", async || {
            let answer = Resp::connect(port).await.ok()?.ask(&["PING"]).await.ok()?;
            (answer == "PONG").then_some(())
        })
        .await;
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill()); // one that has ended already is what is wanted
            drop(child.wait());
        }
    }

    /// Stops it where it stands, as a machine that hangs does: connections stay open, and nothing is answered.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Lets it go on.
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(said(bare("kill").args([name, &pid])).await.success);
    }

    /// Where it listens, on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://…`
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// A plain connection.
    pub async fn connect(&self) -> Resp {
        Resp::connect(self.port).await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder)); // what is left in the temporary folder harms nobody
    }
}

/// The address of a port of this machine.
pub(crate) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/0")
}

/// A program that the machine has.
fn on_path(name: &str) -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    Some(Path::new(path.trim()).to_owned()).filter(|path| path.is_file())
}

/// Below the ports that outgoing connections take, so that it is still free after a kill; the own port of a Redis cluster
/// lies 10,000 above.
pub(crate) fn free_port() -> u16 {
    let mut candidates =
        std::iter::repeat_with(|| 20_000 + u16::try_from(uuid::Uuid::now_v7().as_u128() % 12_000).expect("it fits"));
    candidates.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("some port is free")
}
