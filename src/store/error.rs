//! What Postgres said no to, sorted by what can be done about it.

/// A statement or a connection that failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct StoreError {
    doing: &'static str,
    #[source]
    source: sqlx::Error,
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The server is away, busy, full or cut the work short: the same again, later.
    Infrastructure,
    /// The data or the statement: the same again fails again.
    Data,
}

/// Error classes that pass by themselves or by an operator's hand (Postgres manual, appendix A): connection,
/// resources (disk full), intervention (statement time-out, shutdown), system, rollback, lock not available.
const PASSING: [&str; 6] = ["08", "53", "57", "58", "40", "55"];

impl StoreError {
    pub(super) fn new(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { doing, source }
    }

    /// What can be done about it.
    pub fn kind(&self) -> StoreErrorKind {
        let passing = |code: &str| PASSING.iter().any(|class| code.starts_with(class));
        match &self.source {
            sqlx::Error::Database(error) if !error.code().is_some_and(|code| passing(&code)) => StoreErrorKind::Data,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_) => StoreErrorKind::Data,
            _ => StoreErrorKind::Infrastructure,
        }
    }

    /// A submission took so long that a sweeper has left its jobs to the relay.
    pub(crate) fn abandoned() -> Self {
        Self::new("close a submission, which was abandoned meanwhile")(sqlx::Error::RowNotFound)
    }

    /// Whether a commit was refused for what it held (a constraint, a conflict): then nothing was done. Whatever else is said
    /// of a commit may come from a server that ends, or from a pooler that lost the server.
    pub(super) fn is_refusal(&self) -> bool {
        self.code().is_some_and(|code| code.starts_with("23") || code.starts_with("40"))
    }

    /// Whether what was inserted is there already, by this unique key.
    pub(super) fn violates(&self, key: &str) -> bool {
        let refused = self.source.as_database_error();
        refused.is_some_and(|error| error.is_unique_violation() && error.constraint() == Some(key))
    }

    /// Postgres' own five-character code, when it answered.
    pub fn code(&self) -> Option<String> {
        self.source.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()))
    }
}
