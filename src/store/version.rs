//! Which Postgres and which pgvector this is.

use super::{connect::Store, error::StoreError, statement::statement};

/// The oldest pgvector that is used: before it, an index could be corrupted by a vacuum (its changelog, 0.8.3 and 0.8.4).
pub const OLDEST_VECTOR: (u32, u32, u32) = (0, 8, 4);

/// Versions of the server and of pgvector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgVersions {
    /// Such as `16.14`.
    pub server: String,
    /// Such as `0.8.5`: of the extension in this database, else of what could be installed, else none.
    pub vector: Option<String>,
}

impl PgVersions {
    /// Whether pgvector is there and new enough.
    pub fn vector_is_new_enough(&self) -> bool {
        self.vector.as_deref().is_some_and(|version| parse(version) >= OLDEST_VECTOR)
    }
}

fn parse(version: &str) -> (u32, u32, u32) {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    (next(), next(), next())
}

const VERSIONS: &str = "\
select current_setting('server_version') as server, \
coalesce((select extversion from pg_extension where extname = 'vector'), (select default_version from pg_available_extensions where name = 'vector')) as vector";

impl Store {
    /// Asks for the versions.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn versions(&self) -> Result<PgVersions, StoreError> {
        let rows = self.fetch(statement(VERSIONS)).await?;
        let row = rows.first().expect("a select without from gives one row");
        Ok(PgVersions { server: row.get("server")?, vector: row.get("vector")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let is_new =
            |version: &str| PgVersions { server: String::new(), vector: Some(version.into()) }.vector_is_new_enough();
        assert!(is_new("0.8.4") && is_new("0.8.10") && is_new("0.10.0") && is_new("1.0"));
        assert!(!is_new("0.8.3") && !is_new("0.5.1") && !is_new(""));
    }
}
