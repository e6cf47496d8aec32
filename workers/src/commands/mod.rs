//! One verb of the command line a file. They print; the rest of the crate does not.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

pub mod config;
pub mod dead;
pub mod decide;
pub mod demo;
pub mod empty;
pub mod enqueue;
pub mod health;
pub mod index;
pub mod job;
pub mod jobs;
pub mod kinds;
mod lines;
pub mod migrate;
pub mod queues;
pub mod schedule;
pub mod schemas;
pub mod servers;
pub mod watch;
pub mod worker;

use std::time::Duration;

use engine::client::SubmitError;

/// An error with its causes in one line, each said once: many say their cause themselves.
pub fn told(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// The exit status of sysexits.h for "try again later".
const TRY_AGAIN: u8 = 75;

/// The exit status that an error is told by: 75 when the same may well succeed later, otherwise 1.
pub fn status(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(SubmitError::Busy { .. } | SubmitError::JournalBusy { .. } | SubmitError::Closed(_)) => TRY_AGAIN,
        _ => 1,
    }
}

/// Reads a time such as `500ms`, `10s`, `5m` or `2h`.
///
/// # Errors
/// What was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0_u64,
    };
    let ms = number.parse::<u64>().ok().filter(|_| ms_per_unit > 0).and_then(|number| number.checked_mul(ms_per_unit));
    ms.map(Duration::from_millis)
        .ok_or_else(|| "expected a whole number with a unit: 500ms, 10s, 5m, 2h, 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_said_already_is_not_said_again() {
        let error = anyhow::anyhow!("no route").context("connect: no route").context("reach it");
        assert_eq!(told(&error), "reach it: connect: no route");
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "5", "s", "1.5s", "-1s", "1w", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
