//! Cuts texts into requests that the API's limits allow.
//! Promise: every text that can be sent is in exactly one batch, in order; none breaks the limits it can know of.
//! Never counts tokens exactly: it has no tokenizer, so the server's word decides in doubt.

use crate::embedders::InputError;
use crate::embedders::normalize::is_gap;

/// Inputs that OpenAI takes in one request.
pub(super) const MAX_INPUTS: usize = 2048;
/// Tokens that OpenAI takes in one request.
const MAX_TOKENS: usize = 300_000;
/// Tokens that OpenAI takes in one input.
const MAX_INPUT_TOKENS: usize = 8191;
/// Even the longest common tokens are shorter than this, so a text of more bytes than `MAX_INPUT_TOKENS` times
/// this is certainly too long.
const MAX_TOKEN_BYTES: usize = 16;

/// A practical estimate of a text's tokens: English has four to five bytes a token, most other scripts about three.
fn estimate(text: &str) -> usize {
    text.len().div_ceil(3)
}

/// Why `text` need not be sent at all.
pub(super) fn refusal(text: &str) -> Option<InputError> {
    if text.chars().all(is_gap) {
        return Some(InputError::Empty);
    }
    (text.len() > MAX_INPUT_TOKENS * MAX_TOKEN_BYTES).then(|| too_long(text))
}

/// The error for a text that is too long for the model.
pub(super) fn too_long(text: &str) -> InputError {
    InputError::TooLong { size_bytes: text.len(), limit: format!("about {MAX_INPUT_TOKENS} tokens") }
}

/// The places of the texts that go into each request. `max_inputs` is at least 1.
pub(super) fn batches(texts: &[String], max_inputs: usize) -> Vec<Vec<usize>> {
    let max_inputs = max_inputs.clamp(1, MAX_INPUTS);
    let mut batches = Vec::new();
    let (mut batch, mut n_tokens) = (Vec::new(), 0);
    for (place, text) in texts.iter().enumerate().filter(|(_, text)| refusal(text).is_none()) {
        let tokens = estimate(text);
        // A text that may be too long goes alone: the server refuses a batch as a whole.
        if tokens > MAX_INPUT_TOKENS {
            batches.push(vec![place]);
            continue;
        }
        if batch.len() == max_inputs || n_tokens + tokens > MAX_TOKENS {
            batches.push(std::mem::take(&mut batch));
            n_tokens = 0;
        }
        batch.push(place);
        n_tokens += tokens;
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_may_be_too_long_goes_alone() {
        let texts = ["a".to_owned(), "b".repeat(30_000), "c".to_owned()];
        assert_eq!(batches(&texts, 512), [vec![1], vec![0, 2]]);
    }

    #[test]
    fn texts_that_cannot_be_embedded_are_not_sent() {
        let texts = [" \n\0".to_owned(), "b".repeat(200_000), "c".to_owned()];
        assert_eq!(batches(&texts, 512), [vec![2]]);
        assert_eq!(refusal(&texts[0]), Some(InputError::Empty));
        assert!(matches!(refusal(&texts[1]), Some(InputError::TooLong { size_bytes: 200_000, .. })));
    }

    #[test]
    fn nothing_makes_no_request() {
        assert!(batches(&[], 512).is_empty());
    }

    proptest! {
        #[test]
        fn every_text_is_sent_once_within_the_limits(
            sizes in proptest::collection::vec(1_usize..40_000, 0..200),
            max_inputs in 0_usize..3000,
        ) {
            let texts: Vec<_> = sizes.iter().map(|size| "x".repeat(*size)).collect();
            let batches = batches(&texts, max_inputs);
            for batch in &batches {
                prop_assert!(batch.len() <= max_inputs.clamp(1, MAX_INPUTS) && batch.is_sorted());
                prop_assert!(batch.iter().map(|place| estimate(&texts[*place])).sum::<usize>() <= MAX_TOKENS);
            }
            let mut sent: Vec<_> = batches.concat();
            sent.sort_unstable();
            prop_assert_eq!(sent, (0..texts.len()).collect::<Vec<_>>());
        }
    }
}
