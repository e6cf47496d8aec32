//! Takes one batch to the end: cuts it where the server finds it too large, and sets aside the texts it refuses.
//! Promise: each text of the batch ends with a vector or an error of its own, or the whole batch with one.
//! Never bisects a request that would fail with any text: a probe of one word tells first.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::exchange::{Exchange, Failed};
use super::verdict::Verdict;
use super::wire::Answer;
use super::{OpenAiConfig, Pacing, batch};
use crate::embedders::{EmbedError, InputError, has_direction};

/// What is sent to learn whether the request or its texts are at fault.
const PROBE: &str = "probe";

/// Solves batches against one endpoint, and remembers how many inputs it takes.
#[derive(Debug)]
pub(super) struct Solver {
    exchange: Exchange,
    batch_limit: AtomicUsize,
}

/// What became of a batch's texts, by their places.
#[derive(Debug, Default)]
pub(super) struct Solution {
    pub(super) results: Vec<(usize, Result<Vec<f32>, InputError>)>,
    pub(super) tokens: u64,
}

impl Solution {
    fn accept(&mut self, places: Vec<usize>, answer: Answer) {
        self.tokens += answer.tokens;
        let results = answer.vectors.into_iter().map(|vector| match has_direction(&vector) {
            true => Ok(vector),
            false => Err(InputError::NoDirection),
        });
        self.results.extend(places.into_iter().zip(results));
    }
}

/// The parts of a batch that are still to be sent.
struct Work<'a> {
    texts: &'a [String],
    parts: Vec<Vec<usize>>,
    solution: Solution,
    /// Whether the endpoint is known to take a request with a harmless text.
    probed: bool,
}

impl Work<'_> {
    fn refuse(&mut self, place: usize, error: InputError) {
        self.solution.results.push((place, Err(error)));
    }

    /// Puts `places` back in parts of at most `limit`, so that the first is sent first.
    fn cut(&mut self, places: &[usize], limit: usize) {
        self.parts.extend(places.chunks(limit.max(1)).rev().map(<[usize]>::to_vec));
    }
}

impl Solver {
    pub(super) fn new(config: OpenAiConfig, pacing: Pacing) -> Result<Self, EmbedError> {
        let batch_limit = AtomicUsize::new(config.max_batch_inputs.clamp(1, batch::MAX_INPUTS));
        Ok(Self { exchange: Exchange::new(config, pacing)?, batch_limit })
    }

    pub(super) fn config(&self) -> &OpenAiConfig {
        self.exchange.config()
    }

    /// How many inputs to send at a time: what the settings say, or less when the server said so.
    pub(super) fn batch_limit(&self) -> usize {
        self.batch_limit.load(Ordering::Relaxed)
    }

    /// Embeds the texts at `places`.
    pub(super) async fn solve(&self, texts: &[String], places: Vec<usize>) -> Result<Solution, EmbedError> {
        let mut work = Work { texts, parts: vec![places], solution: Solution::default(), probed: false };
        while let Some(places) = work.parts.pop() {
            let part: Vec<_> = places.iter().map(|place| texts[*place].as_str()).collect();
            match self.exchange.post(&part).await {
                Ok(answer) => work.solution.accept(places, answer),
                Err(failed) => self.react(failed, places, &mut work).await?,
            }
        }
        Ok(work.solution)
    }

    async fn react(&self, failed: Failed, mut places: Vec<usize>, work: &mut Work<'_>) -> Result<(), EmbedError> {
        match failed.verdict {
            Verdict::Retry | Verdict::Later | Verdict::Stop => return Err(failed.into()),
            Verdict::Input(at) if at < places.len() => {
                let place = places.remove(at);
                work.refuse(place, refused(failed, &work.texts[place]));
                work.cut(&places, places.len());
            }
            Verdict::TooLarge(limit) => self.shrink(limit, &places, work),
            Verdict::Input(_) | Verdict::Unclear => self.search(failed, &places, work).await?,
        }
        Ok(())
    }

    /// Sends less at a time from now on, or gives up the one text that is too large by itself.
    fn shrink(&self, limit: Option<usize>, places: &[usize], work: &mut Work<'_>) {
        if let [place] = *places {
            return work.refuse(place, batch::too_long(&work.texts[place]));
        }
        if let Some(limit) = limit {
            self.batch_limit.fetch_min(limit, Ordering::Relaxed);
        }
        let half = places.len().div_ceil(2);
        work.cut(places, limit.unwrap_or(half).min(half));
    }

    /// Halves the batch until the refused texts stand alone, once it is clear that it is the texts.
    async fn search(&self, failed: Failed, places: &[usize], work: &mut Work<'_>) -> Result<(), EmbedError> {
        if !work.probed {
            self.probe(failed.clone()).await?;
            work.probed = true;
        }
        match *places {
            [place] => work.refuse(place, refused(failed, &work.texts[place])),
            _ => work.cut(places, places.len().div_ceil(2)),
        }
        Ok(())
    }

    /// Fails when a harmless text fails too: with `failed` if that is refused as well, else with what stopped it.
    async fn probe(&self, failed: Failed) -> Result<(), EmbedError> {
        match self.exchange.post(&[PROBE]).await {
            Ok(_) => Ok(()),
            Err(probe) if matches!(probe.verdict, Verdict::Retry | Verdict::Later) => Err(probe.into()),
            Err(_) => Err(failed.into()),
        }
    }
}

/// The error for the one text that a request failed for.
fn refused(failed: Failed, text: &str) -> InputError {
    if failed.failure.message.contains("maximum input length") {
        return batch::too_long(text);
    }
    InputError::Refused { message: failed.failure.message }
}
