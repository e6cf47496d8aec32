//! Says once that the server answers nobody, in place of every role that waits for it, and once that it answers again.
//!
//! Promise: one line within a second of the silence counting as one, another every half a minute while it lasts. Never
//! asks the server anything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    broker::{Connection, Pulse, Silence},
    shutdown::Shutdown,
};

const LOOK: Duration = Duration::from_millis(500);

/// How often a silence that lasts is told again.
const AGAIN: Duration = Duration::from_secs(30);

/// Observes one server.
pub(crate) struct Observer {
    at: String,
    pulse: Arc<Pulse>,
    telling: Telling,
}

/// What was said last.
#[derive(Default)]
struct Telling(Option<Told>);

struct Told {
    at: Instant,
    since: Instant,
}

/// What is to be said now.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Nothing,
    Silent,
    /// It answers again, after so long.
    Answers(Duration),
}

impl Observer {
    pub(crate) fn new(connection: &Connection) -> Self {
        let (at, pulse) = (connection.address().shown().to_owned(), Arc::clone(connection.pulse()));
        Self { at, pulse, telling: Telling::default() }
    }

    /// Ends when told to stop.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_stopped(ticks.tick()).await.is_some() {
            let now = Instant::now();
            let silence = self.pulse.silence(now);
            match (self.telling.next(silence.as_ref(), self.pulse.answered(), now), silence) {
                (News::Silent, Some(silence)) => {
                    tracing::error!(
                        "the server at {} {silence}; nothing is taken or settled until it answers",
                        self.at
                    );
                }
                (News::Answers(after), _) => {
                    tracing::info!(seconds = after.as_secs(), "the server at {} answers again", self.at);
                }
                _ => {}
            }
        }
    }
}

impl Telling {
    fn next(&mut self, silence: Option<&Silence>, answered: Option<Instant>, now: Instant) -> News {
        match (silence, &self.0) {
            (Some(_), Some(told)) if now.duration_since(told.at) < AGAIN => News::Nothing,
            (Some(silence), _) => {
                self.0 = Some(Told { at: now, since: silence.since });
                News::Silent
            }
            (None, Some(told)) if answered.is_some_and(|answered| answered > told.since) => {
                let after = now.duration_since(told.since);
                self.0 = None;
                News::Answers(after)
            }
            (None, _) => News::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Sent;

    #[test]
    fn a_silence_is_told_at_its_beginning_now_and_then_and_at_its_end() {
        let (pulse, start, mut telling) = (Pulse::default(), Instant::now(), Telling::default());
        let open = pulse.sent(Sent::Script("beat"), start);
        let mut said = Vec::new();
        for half_seconds in 0..130 {
            let now = start + LOOK * half_seconds;
            match telling.next(pulse.silence(now).as_ref(), pulse.answered(), now) {
                News::Nothing => {}
                news => said.push((half_seconds, news)),
            }
        }
        assert_eq!(said, [(6, News::Silent), (66, News::Silent), (126, News::Silent)]);
        let now = start + LOOK * 130;
        open.answered(now);
        let answers = News::Answers(LOOK * 130);
        assert_eq!(telling.next(pulse.silence(now).as_ref(), pulse.answered(), now), answers);
        assert_eq!(telling.next(None, pulse.answered(), now), News::Nothing);
    }

    #[test]
    fn a_silence_that_nobody_waits_out_is_not_told_as_an_answer() {
        let (pulse, start, mut telling) = (Pulse::default(), Instant::now(), Telling::default());
        let open = pulse.sent(Sent::Script("beat"), start);
        let now = start + Duration::from_secs(5);
        assert_eq!(telling.next(pulse.silence(now).as_ref(), pulse.answered(), now), News::Silent);
        drop(open);
        assert_eq!(telling.next(pulse.silence(now).as_ref(), pulse.answered(), now), News::Nothing);
    }
}
