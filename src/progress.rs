//! How far a running job says it has come.
//!
//! Pure. On the wire it is a JSON object: the value of the job's progress key, and the message on its channel.

use serde::{Deserialize, Serialize};

/// What a handler reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    /// How much is done, in the handler's own unit.
    pub done: u64,
    /// How much there is to do, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is being done, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When this was said, milliseconds since 1970 by the server's clock.
    #[serde(default)]
    pub at_ms: u64,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total}", self.done)?,
            None => write!(f, "{}", self.done)?,
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, ", {}", self.note) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words() {
        let said = Progress { done: 3, total: Some(9), note: "embedding".to_owned(), at_ms: 1 };
        assert_eq!(said.to_string(), "3 of 9, embedding");
        assert_eq!(Progress { done: 3, ..Progress::default() }.to_string(), "3");
    }
}
