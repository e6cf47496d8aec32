//! The address of a server, which may carry a password.
//! Promise: `Debug` and `Display` hide user secrets; only [`ServerUrl::expose`] and [`ServerUrl::url`]
//! give them, to the code that connects. An error shows no part of the text that was read.

use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

/// An absolute URL whose password is hidden when it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

/// Why a text is no server's URL. Never repeats any of the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// The text is no URL.
    #[error("{0}")]
    Syntax(#[from] url::ParseError),
    /// The text is a URL, but its password ends early: what follows would be taken for host, path or query.
    #[error("its path, query or fragment has an @, as when a password holds a / ? or # that is not percent-encoded")]
    Ambiguous,
}

impl ServerUrl {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// When the text is none, or when its password contains a separator that is not percent-encoded. The error does not
    /// repeat the text.
    pub fn parse(text: &str) -> Result<Self, ServerUrlError> {
        let url = Url::parse(text.trim())?;
        if is_ambiguous(&url) { Err(ServerUrlError::Ambiguous) } else { Ok(Self(url)) }
    }

    /// The whole URL, password included: for connecting only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL, password included: for connecting only (its own `Debug` shows everything).
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether the URL carries a password: before the host, or as the parameter `password`.
    #[must_use]
    pub fn has_password(&self) -> bool {
        let mut pairs = self.0.query_pairs();
        self.0.password().is_some_and(|password| !password.is_empty())
            || pairs.any(|(name, value)| name == "password" && !value.is_empty())
    }

    /// Whether the URL carries another password than this one. One with escapes cannot be compared and counts as equal.
    pub(super) fn contradicts(&self, password: &SecretString) -> bool {
        let in_url = self.0.password().filter(|in_url| !in_url.is_empty() && !in_url.contains('%'));
        in_url.is_some_and(|in_url| in_url != password.expose_secret())
    }

    /// Whether it points at the machine itself: localhost, a loopback address, or a Unix socket.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let hosts = self.0.query_pairs().filter(|(key, _)| key == "host" || key == "hostaddr" || key == "node");
        let mut named: Vec<String> = hosts.map(|(_, host)| host.into_owned()).collect();
        // Postgres and cluster URLs may name their hosts in the query alone.
        match self.0.host_str() {
            Some(host) if !host.is_empty() => named.push(host.to_owned()),
            _ if named.is_empty() => return true,
            _ => {}
        }
        named.iter().any(|host| is_local_host(host))
    }
}

/// Whether an `@` stands behind the host: then a `/`, `?` or `#` of the password has cut the URL short. The path of a web
/// address may have one.
fn is_ambiguous(url: &Url) -> bool {
    let has_at = |part: &str| part.contains('@');
    !matches!(url.scheme(), "http" | "https")
        && (has_at(url.path()) || url.query().is_some_and(has_at) || url.fragment().is_some_and(has_at))
}

/// Whether a host name or address is this machine's.
fn is_local_host(host: &str) -> bool {
    let bare = match host.trim_start_matches('[').split_once(']') {
        Some((address, _)) => address,
        None if host.matches(':').count() == 1 => host.split(':').next().unwrap_or(host),
        None => host,
    };
    let bare = bare.trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = bare.parse().ok();
    bare.starts_with('/')
        || bare.starts_with("%2f")
        || bare == "localhost"
        || bare.ends_with(".localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback() || address.is_unspecified())
}

/// Whether the value of a query parameter of this name has to be hidden.
fn is_sensitive(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    ["password", "secret", "token", "key", "auth"].iter().any(|word| parameter.contains(word))
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.password().is_some() {
            // Fails only for URLs that cannot carry a password at all.
            let _ = shown.set_password(Some("***"));
        }
        if shown.query_pairs().any(|(parameter, _)| is_sensitive(&parameter)) {
            let pairs: Vec<(String, String)> = shown
                .query_pairs()
                .map(|(key, value)| {
                    let value = if is_sensitive(&key) { "***".to_owned() } else { value.into_owned() };
                    (key.into_owned(), value)
                })
                .collect();
            shown.query_pairs_mut().clear().extend_pairs(pairs);
        }
        formatter.write_str(shown.as_str())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServerUrl({self})")
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_wherever_a_url_carries_them() {
        for url in [
            "postgres://ada:hunter2@db:5432/trips",
            "postgres://db/trips?user=ada&password=hunter2",
            "redis://:hunter2@df:6379/0",
        ] {
            let url = ServerUrl::parse(url).unwrap();
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(url.expose().contains("hunter2"));
        }
    }

    #[test]
    fn a_password_that_cuts_the_url_short_is_refused_and_no_part_of_it_is_shown() {
        for password in ["12/zqz", "12#zqz", "12?zqz", "/zqz", "zq@zq/zq", "zq@zq#zq", "zq@zq?zq", "zq:zq@zq/zq"] {
            for url in [format!("postgres://ada:{password}@db:5432/trips"), format!("redis://:{password}@df:6379/0")] {
                let told = ServerUrl::parse(&url).unwrap_err().to_string();
                assert!(!told.contains("zq") && !told.contains("12"), "{url}: {told}");
            }
        }
        for password in ["zq@zq", "zq:zq", "zq%2Fzq", "zq%23zq"] {
            let url = ServerUrl::parse(&format!("postgres://ada:{password}@db:5432/trips")).unwrap();
            assert_eq!(url.to_string(), "postgres://ada:***@db:5432/trips", "{password}");
        }
        assert!(
            ServerUrl::parse("https://tools.example/@travel/mcp").is_ok(),
            "the path of a web address may have an @"
        );
    }

    #[test]
    fn a_password_is_found_before_the_host_and_in_the_query() {
        for (url, has_password) in [
            ("postgres://ada:hunter2@db/trips", true),
            ("postgres://db/trips?user=ada&password=hunter2", true),
            ("postgres://ada@db/trips?sslmode=require", false),
            ("postgres://ada:@db/trips", false),
        ] {
            assert_eq!(ServerUrl::parse(url).unwrap().has_password(), has_password, "{url}");
        }
    }

    #[test]
    fn a_url_without_a_password_is_shown_as_it_is() {
        let url = ServerUrl::parse("redis://df:6379/0").unwrap();
        assert_eq!(url.to_string(), "redis://df:6379/0");
    }

    #[test]
    fn every_spelling_of_this_machine_is_local() {
        let local = [
            "redis://localhost:6379",
            "redis://LOCALHOST.",
            "redis://127.0.0.1",
            "redis://127.9.9.9",
            "redis://[::1]:6379",
            "redis://0.0.0.0",
            "postgres:///trips",
            "postgres://db.internal/trips?host=/run/postgresql",
            "postgres://%2Frun%2Fpg/trips",
            "postgres://app.localhost/x",
            "redis://[::ffff:127.0.0.1]",
            "redis-cluster://df:6379?node=localhost:6380",
        ];
        for url in local {
            assert!(ServerUrl::parse(url).unwrap().is_local(), "{url}");
        }
        for url in [
            "redis://df:6379",
            "postgres://ada@10.0.0.7/trips",
            "postgres:///trips?host=db.internal",
            "redis://localhost.example.com",
        ] {
            assert!(!ServerUrl::parse(url).unwrap().is_local(), "{url}");
        }
    }
}
