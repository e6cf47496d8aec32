//! Whether a server is fit to hold queues: what it says about itself, and what follows from that.
//!
//! Promise: a server that may delete entries when its memory runs short is refused; what else is known to be wrong is a
//! warning that says what to change. What a server does not say is unknown, and nothing follows from it. Never changes a
//! server's configuration.

use super::{
    connection::{BrokerError, BrokerErrorKind, Connection, text},
    reply,
    tag_lock::tag_lock,
    version::{ServerVersion, field},
};
use crate::keys::Keys;

/// The Dragonfly that the service is tested with; an older one is a warning.
const TESTED: (u32, u32) = (1, 40);

/// What is known of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitness {
    /// Which server it is.
    pub version: ServerVersion,
    eviction: Eviction,
    locks_tags: Option<bool>,
    snapshots: Snapshots,
}

/// What the server does when its memory runs short.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Eviction {
    /// It does not say.
    Unknown,
    /// It refuses what adds.
    Never,
    /// It deletes entries by the `maxmemory-policy` of this name.
    Policy(String),
    /// It deletes entries, being a Dragonfly in cache mode.
    CacheMode,
}

/// What of the server's memory is there again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Snapshots {
    /// It does not say.
    Unknown,
    /// It saves at times, or keeps an append-only file.
    Kept,
    /// It saves only when it is stopped, and loses all when it dies.
    AtStop,
    /// It saves nothing.
    None,
}

impl Fitness {
    /// Asks the server of this version.
    ///
    /// # Errors
    /// When the server cannot be reached; what it refuses to say is unknown.
    pub async fn of(connection: &Connection, keys: &Keys, version: ServerVersion) -> Result<Self, BrokerError> {
        let memory = said(info(connection, "memory").await)?.unwrap_or_default();
        let (locks_tags, snapshots) = if version.is_dragonfly() {
            (dragonfly_locks(connection, keys).await?, dragonfly_snapshots(connection).await?)
        } else {
            (None, redis_snapshots(connection).await?)
        };
        Ok(Self { version, eviction: eviction(&memory), locks_tags, snapshots })
    }

    /// Why no queue may be put there; what is expected, and what to do.
    pub fn refusal(&self) -> Option<String> {
        match &self.eviction {
            Eviction::Unknown | Eviction::Never => None,
            Eviction::Policy(policy) => Some(format!(
                "its eviction policy is `{policy}`, which deletes waiting jobs when memory runs short; expected \
                 `noeviction`: run `CONFIG SET maxmemory-policy noeviction`, and put the line `maxmemory-policy noeviction` \
                 into its configuration file"
            )),
            Eviction::CacheMode => Some(
                "it runs in cache mode, which deletes waiting jobs when memory runs short; expected \
                 `--cache_mode=false`: start Dragonfly so"
                    .to_owned(),
            ),
        }
    }

    /// What to change about it.
    pub fn warnings(&self) -> Vec<String> {
        [self.version_warning(), self.lock_warning(), self.snapshot_warning()].into_iter().flatten().collect()
    }

    fn version_warning(&self) -> Option<String> {
        if !self.version.is_dragonfly() {
            return None; // one that is too old is refused
        }
        let (found, (major, minor)) = (&self.version.version, TESTED);
        match self.version.numbers() {
            Some(numbers) if numbers >= TESTED => None,
            Some(_) => {
                Some(format!("Dragonfly {found} is older than v{major}.{minor}, the tested version: upgrade it"))
            }
            None => Some(format!(
                "the version `{found}` of this Dragonfly cannot be read; v{major}.{minor} is tested: run a release of v{major}.{minor} or later"
            )),
        }
    }

    fn lock_warning(&self) -> Option<String> {
        (self.locks_tags == Some(false)).then(|| {
            "Dragonfly does not lock by hash tag, so every script holds up several threads: start it with \
             `--cluster_mode=emulated --lock_on_hashtags`"
                .to_owned()
        })
    }

    fn snapshot_warning(&self) -> Option<String> {
        let is_dragonfly = self.version.is_dragonfly();
        match self.snapshots {
            Snapshots::Unknown | Snapshots::Kept => None,
            Snapshots::AtStop => Some(
                "Dragonfly saves a snapshot only when it is stopped, so a crash loses every job that is not journaled: \
                 start it with `--snapshot_cron=\"*/5 * * * *\"`"
                    .to_owned(),
            ),
            Snapshots::None if is_dragonfly => Some(
                "Dragonfly saves no snapshot, so a restart loses every job that is not journaled: start it with \
                 `--dbfilename=dump --snapshot_cron=\"*/5 * * * *\"`"
                    .to_owned(),
            ),
            Snapshots::None => Some(
                "the server keeps neither snapshots nor an append-only file, so a restart loses every job that is not \
                 journaled: set `appendonly yes`, or save points such as `save 300 1`"
                    .to_owned(),
            ),
        }
    }
}

/// What the server said; none where it refused, as a managed server may.
fn said<T>(answer: Result<T, BrokerError>) -> Result<Option<T>, BrokerError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind() == BrokerErrorKind::Unreachable => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the server does not say how it is configured; that check is left out");
            Ok(None)
        }
    }
}

async fn info(connection: &Connection, section: &str) -> Result<String, BrokerError> {
    let info = connection.call("INFO", vec![text(section)]).await?;
    Ok(reply::text(&info).unwrap_or_default())
}

/// The value of a parameter; none where the server refuses to say it, or has none of this name.
async fn parameter(connection: &Connection, name: &str) -> Result<Option<String>, BrokerError> {
    let found = said(connection.call("CONFIG", vec![text("GET"), text(name)]).await)?;
    let pairs = found.map(|found| reply::pairs(&found)).unwrap_or_default();
    Ok(pairs.into_iter().find_map(|(found, value)| (found == name).then_some(value)))
}

/// An emulated or a real cluster places keys by their tags, and says that it is a cluster.
async fn dragonfly_locks(connection: &Connection, keys: &Keys) -> Result<Option<bool>, BrokerError> {
    let server = info(connection, "server").await?;
    if field(&server, "redis_mode").as_deref() == Some("cluster") {
        return Ok(Some(true));
    }
    said(tag_lock(connection, keys).await)
}

async fn dragonfly_snapshots(connection: &Connection) -> Result<Snapshots, BrokerError> {
    let file = parameter(connection, "dbfilename").await?;
    Ok(of_dragonfly(file.as_deref(), parameter(connection, "snapshot_cron").await?.as_deref()))
}

async fn redis_snapshots(connection: &Connection) -> Result<Snapshots, BrokerError> {
    let persistence = said(info(connection, "persistence").await)?.unwrap_or_default();
    let is_appending = field(&persistence, "aof_enabled").map(|enabled| enabled != "0");
    if is_appending == Some(true) {
        return Ok(Snapshots::Kept);
    }
    Ok(of_redis(is_appending, parameter(connection, "save").await?.as_deref()))
}

/// Dragonfly says both; its `maxmemory_policy` is no name of a policy there.
fn eviction(memory: &str) -> Eviction {
    match (field(memory, "cache_mode").as_deref(), field(memory, "maxmemory_policy").as_deref()) {
        (Some("cache"), _) => Eviction::CacheMode,
        (Some("store"), _) | (None, Some("noeviction")) => Eviction::Never,
        (None, Some(policy)) if !policy.is_empty() => Eviction::Policy(policy.to_owned()),
        _ => Eviction::Unknown,
    }
}

fn of_dragonfly(file: Option<&str>, times: Option<&str>) -> Snapshots {
    match (file, times) {
        (Some(""), _) => Snapshots::None,
        (Some(_), Some("")) => Snapshots::AtStop,
        (Some(_), Some(_)) => Snapshots::Kept,
        _ => Snapshots::Unknown,
    }
}

fn of_redis(is_appending: Option<bool>, save_points: Option<&str>) -> Snapshots {
    match (is_appending, save_points) {
        (Some(true), _) => Snapshots::Kept,
        (_, Some(points)) if !points.is_empty() => Snapshots::Kept,
        (Some(false), Some(_)) => Snapshots::None,
        _ => Snapshots::Unknown,
    }
}

#[cfg(test)]
mod tests;
