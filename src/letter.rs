//! A dead letter: a job that is given up, with everything needed to see why and to try again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    job::{JobId, Kind, QueueName},
    outcome::{AttemptError, Status},
};

/// What lies in a partition's stream of dead letters, MessagePack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Which job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind; none when the envelope could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Failed or dead.
    pub status: Status,
    /// Every attempt's error, and last the reason it is here.
    pub errors: Vec<AttemptError>,
    /// When it died, milliseconds since 1970 by the server's clock.
    pub died_at_ms: u64,
    /// The envelope: as it came where it could not be read, otherwise as it would run again.
    #[serde(with = "serde_bytes")]
    pub envelope: Vec<u8>,
}

impl Letter {
    /// The letter as MessagePack.
    pub fn write(&self) -> Bytes {
        Bytes::from(rmp_serde::to_vec_named(self).expect("text, numbers and bytes encode"))
    }

    /// Reads a letter.
    ///
    /// # Errors
    /// The decoder's own words.
    pub fn read(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }

    /// The reason it is here.
    pub fn last_error(&self) -> Option<&AttemptError> {
        self.errors.last()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_even_of_bytes_that_are_no_envelope() {
        let letter = Letter {
            id: JobId::generate(),
            queue: QueueName::from_static("search"),
            kind: None,
            status: Status::Dead,
            errors: vec![AttemptError {
                attempt: 0,
                at_ms: 1,
                class: "unreadable".into(),
                chain: vec!["x".into()],
                worker: "w".into(),
            }],
            died_at_ms: 5,
            envelope: vec![0xc1, 0xff, 0x00],
        };
        assert_eq!(Letter::read(&letter.write()).unwrap(), letter);
    }
}
