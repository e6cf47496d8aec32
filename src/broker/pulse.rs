//! Whether the server answers at all, as every connection to one address sees it.
//!
//! Promise: costs no command; a server counts as silent only when something was asked of it and nothing at all was
//! answered for [`SILENT_AFTER`]. A read that blocks at the server proves nothing while it waits.

use std::{
    collections::VecDeque,
    fmt::{Display, Formatter, Result},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::clock::ServerClock;

/// After how long without any answer the server counts as silent.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// When the server answered last, and what it was asked since; shared by all connections to it.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    n_calls: u64,
    /// Those that may still be answered, the oldest first.
    open: VecDeque<Call>,
    answered: Option<Instant>,
    /// The oldest since the last answer that got none, be it open or given up.
    unanswered: Option<Call>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A command by its name.
    Command(&'static str),
    /// A script by its name.
    Script(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Call {
    number: u64,
    sent: Sent,
    at: Instant,
}

/// A server that answers nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Since when.
    pub since: Instant,
    lasted: Duration,
    first: Call,
}

impl Pulse {
    /// Something is sent; what comes of it is told to what this gives.
    pub(crate) fn sent(&self, sent: Sent, at: Instant) -> Open<'_> {
        let mut calls = self.calls();
        calls.n_calls += 1;
        let call = Call { number: calls.n_calls, sent, at };
        calls.open.push_back(call);
        calls.unanswered.get_or_insert(call);
        Open { pulse: self, number: call.number, is_over: false }
    }

    /// Something was answered.
    pub(crate) fn heard(&self, at: Instant) {
        self.calls().heard(at);
    }

    /// The silence that lasts now, if one does.
    pub fn silence(&self, now: Instant) -> Option<Silence> {
        let calls = self.calls();
        let first = calls.unanswered?;
        let since = calls.answered.unwrap_or(first.at);
        let is_long = |from: Instant| now.saturating_duration_since(from) >= SILENT_AFTER;
        let lasted = now.saturating_duration_since(since);
        (is_long(first.at) && is_long(since)).then_some(Silence { since, lasted, first })
    }

    /// When the last answer came.
    pub fn answered(&self) -> Option<Instant> {
        self.calls().answered
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().expect("no code panics while it holds this lock")
    }
}

impl Calls {
    fn heard(&mut self, at: Instant) {
        self.answered = Some(at);
        self.unanswered = self.open.front().copied();
    }

    fn close(&mut self, number: u64) {
        if let Some(place) = self.open.iter().position(|call| call.number == number) {
            self.open.remove(place);
        }
    }
}

/// A call without an answer yet. One that is dropped was given up by whoever sent it, and says nothing about the server.
#[must_use = "what came of the call is to be told"]
pub(crate) struct Open<'a> {
    pulse: &'a Pulse,
    number: u64,
    is_over: bool,
}

impl Open<'_> {
    /// The server answered, be it with an error.
    pub(crate) fn answered(mut self, at: Instant) {
        self.is_over = true;
        let mut calls = self.pulse.calls();
        calls.close(self.number);
        calls.heard(at);
    }

    /// No answer came in time, or the connection was lost.
    pub(crate) fn failed(mut self) {
        self.is_over = true;
        self.pulse.calls().close(self.number);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut calls = self.pulse.calls();
        calls.close(self.number);
        if calls.unanswered.is_some_and(|call| call.number == self.number) {
            calls.unanswered = calls.open.front().copied();
        }
    }
}

impl Display for Sent {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Command(name) => write!(f, "command {name}"),
            Self::Script(name) => write!(f, "script {name}"),
        }
    }
}

impl Display for Silence {
    /// Reads after "the server".
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let asked = self.since + self.lasted;
        let (since, sent) = (time_of_day(asked, self.since), time_of_day(asked, self.first.at));
        let (seconds, first) = (self.lasted.as_secs(), self.first.sent);
        write!(f, "has not answered since {since} ({seconds} s); the first that got no answer: {first}, sent at {sent}")
    }
}

/// A moment of the past, by this machine's clock.
fn time_of_day(now: Instant, moment: Instant) -> impl Display {
    let ago = u64::try_from(now.saturating_duration_since(moment).as_millis()).unwrap_or_default();
    let ms = i64::try_from(ServerClock::new().now_ms().saturating_sub(ago)).unwrap_or_default();
    DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default().format("%H:%M:%S UTC")
}

/// Logs that something failed: as a warning, or at debug level where the reason is that the server answers nobody, which
/// the observer says once for all. The error has a method `is_of_silence`.
macro_rules! warn_unless_silent {
    ($error:expr, $($rest:tt)+) => {
        if $error.is_of_silence() {
            tracing::debug!(error = %$error, $($rest)+)
        } else {
            tracing::warn!(error = %$error, $($rest)+)
        }
    };
}
pub(crate) use warn_unless_silent;

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    #[test]
    fn a_server_is_silent_when_nothing_is_answered_and_speaks_again_at_the_first_answer() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        pulse.sent(Sent::Command("PING"), start).answered(start);
        assert!(pulse.silence(start + LATER).is_none(), "nothing was asked of it");
        let _open = pulse.sent(Sent::Script("reclaim"), start + LATER);
        pulse.sent(Sent::Script("beat"), start + LATER).failed();
        assert!(pulse.silence(start + LATER).is_none(), "it has not had its time");
        let silence = pulse.silence(start + LATER + SILENT_AFTER).expect("silent");
        assert_eq!(silence.since, start);
        assert!(silence.to_string().contains("(63 s); the first that got no answer: script reclaim"), "{silence}");
        pulse.heard(start + LATER + SILENT_AFTER);
        assert!(pulse.silence(start + LATER + SILENT_AFTER).is_none());
        assert!(pulse.silence(start + 2 * LATER).is_some(), "the first call waits still, and nothing came since");
    }

    #[test]
    fn an_answer_to_anybody_is_a_sign_of_life_though_one_call_hangs() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let _hangs = pulse.sent(Sent::Script("reclaim"), start);
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            pulse.sent(Sent::Command("XLEN"), now).answered(now);
            assert!(pulse.silence(now + Duration::from_secs(1)).is_none());
        }
    }

    #[test]
    fn a_server_that_refuses_connections_is_silent_too() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        pulse.sent(Sent::Script("beat"), start).answered(start);
        for second in 1..10 {
            pulse.sent(Sent::Command("XLEN"), start + Duration::from_secs(second)).failed();
        }
        assert!(pulse.silence(start + Duration::from_secs(4)).is_some());
    }

    #[test]
    fn a_call_that_its_sender_gave_up_says_nothing_about_the_server() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        drop(pulse.sent(Sent::Command("GET"), start));
        assert!(pulse.silence(start + LATER).is_none());
    }
}
