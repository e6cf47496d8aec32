//! Which server this is, and whether it is new enough.

use super::{
    connection::{BrokerError, Connection, text},
    reply,
};

/// A server's name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// `dragonfly`, `valkey` or `redis`.
    pub product: &'static str,
    /// As the server says it.
    pub version: String,
    /// The Redis version that it speaks like.
    pub compatible: (u32, u32),
}

/// XAUTOCLAIM, XPENDING with IDLE and XADD with MINID came with Redis 6.2.
const OLDEST: (u32, u32) = (6, 2);

const DRAGONFLY: &str = "dragonfly";

impl ServerVersion {
    /// Asks the server.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn of(connection: &Connection) -> Result<Self, BrokerError> {
        let info = connection.call("INFO", vec![text("server")]).await?;
        Ok(Self::parse(&reply::text(&info).unwrap_or_default()))
    }

    /// Whether it has everything that we use.
    pub fn is_new_enough(&self) -> bool {
        self.compatible >= OLDEST
    }

    /// Whether it is a Dragonfly.
    pub fn is_dragonfly(&self) -> bool {
        self.product == DRAGONFLY
    }

    /// Major and minor number of the version; none where it is written in another way, as a build of one's own is.
    pub(super) fn numbers(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.trim_start_matches("df-").trim_start_matches('v').split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    pub(super) fn parse(info: &str) -> Self {
        let field = |name: &str| field(info, name);
        let redis = field("redis_version").unwrap_or_default();
        let mut numbers = redis.split('.').map(|part| part.parse().unwrap_or_default());
        let compatible = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let named = [(DRAGONFLY, field("dragonfly_version")), ("valkey", field("valkey_version"))];
        let found = named.into_iter().find_map(|(product, version)| Some((product, version?)));
        let (product, version) = found.unwrap_or(("redis", redis));
        Self { product, version, compatible }
    }
}

/// The value of one line of INFO.
pub(super) fn field(info: &str, name: &str) -> Option<String> {
    info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart() {
        let dragonfly = ServerVersion::parse("# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.40.1\r\n");
        assert_eq!((dragonfly.product, dragonfly.compatible), ("dragonfly", (7, 4)));
        let redis = ServerVersion::parse("redis_version:6.0.16\r\n");
        assert_eq!((redis.product, redis.is_new_enough()), ("redis", false));
        assert!(ServerVersion::parse("redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n").is_new_enough());
        assert!(!ServerVersion::parse("").is_new_enough());
    }
}
