//! A Postgres of a scenario's own, to be stopped, cut short and filled up.
//!
//! Promise: made of the programs that the run's own server was started from, so that its extensions are there;
//! listens on this machine alone; gone when it is dropped, with its data.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};
use sqlx::{Connection, PgConnection};

use crate::{redis_server::free_port, servers::Servers, wait::eventually};

/// The server.
pub(super) struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    account: Option<(u32, u32)>,
    child: Option<Child>,
    disk: Option<PathBuf>,
}

/// How large a small disk is: the empty service takes about a fifth of it.
const DISK: &str = "size=64m";

impl Cluster {
    /// Makes and starts one under `folder`.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let programs = programs().await?;
        let account = account()?;
        let (data, port) = (folder.join("postgres"), free_port());
        std::fs::create_dir_all(&data)?;
        let mut cluster = Self { programs, data, port, account, child: None, disk: None };
        cluster.own(&cluster.data)?;
        let made = cluster.command("initdb", "initdb.log")?.arg("-D").arg(&cluster.data).args(INIT).status()?;
        if !made.success() {
            bail!("initdb: {made}; see {}", cluster.log("initdb.log").display());
        }
        cluster.start_again().await?;
        Ok(cluster)
    }

    /// Starts it where it was.
    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=60",
            "shared_buffers=32MB",
            "dynamic_shared_memory_type=mmap",
        ];
        let mut command = self.command("postgres", "postgres.log")?;
        command.arg("-D").arg(&self.data).arg("-c").arg(format!("port={}", self.port));
        self.child = Some(command.args(settings.iter().flat_map(|setting| ["-c", setting])).spawn()?);
        let url = self.url("postgres");
        eventually("a Postgres that answers", async || PgConnection::connect(&url).await.ok()).await.close().await?;
        Ok(())
    }

    /// Ends it at once, as a machine that restarts does: no goodbye to clients, recovery at the next start.
    pub(super) fn stop_at_once(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let told = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
        if !told.is_ok_and(|status| status.success()) {
            drop(child.kill()); // one that has ended already is what is wanted
        }
        drop(child.wait());
    }

    /// `postgres://…`
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://tripsage@127.0.0.1:{}/{database}", self.port)
    }

    /// Mounts a small disk that tables can be put on; none where this user may not mount.
    pub(super) fn mount_disk(&mut self) -> anyhow::Result<Option<PathBuf>> {
        let disk = self.data.with_file_name("disk");
        std::fs::create_dir_all(&disk)?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&disk).stderr(Stdio::null()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        self.disk = Some(disk.clone());
        let space = disk.join("space");
        std::fs::create_dir_all(&space)?;
        self.own(&space)?;
        Ok(Some(disk))
    }

    fn own(&self, path: &Path) -> std::io::Result<()> {
        self.account.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.data.with_file_name(name)
    }

    fn command(&self, program: &str, log: &str) -> anyhow::Result<Command> {
        let log = std::fs::File::options().create(true).append(true).open(self.log(log))?;
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/").env_clear().env("LC_ALL", "C").env("HOME", "/").stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        Ok(command)
    }
}

const INIT: [&str; 6] = ["-U", "tripsage", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_at_once();
        if let Some(disk) = &self.disk {
            drop(Command::new("umount").arg("-l").arg(disk).status()); // what stays mounted is 64 MB of memory
        }
        drop(std::fs::remove_dir_all(&self.data)); // what is left in the temporary folder harms nobody
    }
}

/// Where the programs of the run's own server are.
async fn programs() -> anyhow::Result<PathBuf> {
    let mut server = PgConnection::connect(&Servers::get().database_url).await?;
    let folder: String = sqlx::query_scalar("select setting from pg_config where name = 'BINDIR'")
        .fetch_one(&mut server)
        .await
        .context("ask the server where its programs are")?;
    let folder = PathBuf::from(folder);
    if !folder.join("initdb").is_file() {
        bail!("the programs of the run's Postgres are not on this machine ({})", folder.display());
    }
    Ok(folder)
}

/// Postgres refuses root: `postgres` where it exists, else `nobody`; this very user unless it is root.
fn account() -> anyhow::Result<Option<(u32, u32)>> {
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    let found = ["postgres", "nobody"].into_iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
    found.map(Some).context("no user `postgres` or `nobody` to run Postgres as")
}

fn id(words: &[&str]) -> Option<u32> {
    let answer = Command::new("id").args(words).output().ok()?;
    String::from_utf8(answer.stdout).ok()?.trim().parse().ok()
}
