//! Reads a tokenizer file for counting in every token of a text.
//! Promise: no padding and no truncation, whatever the file says.
//! Never keeps a cache of texts: the tokenizer's own is off where it would hold whole texts.

use std::path::Path;

use serde::Deserialize;
use tokenizers::{ModelWrapper, Tokenizer};

use super::LocalModelError;
use super::matrix::unusable;

/// Words that a tokenizer remembers for each thread, when it works on words.
const WORD_CACHE: usize = 2_000;

/// The part of a tokenizer file that says which token stands for what it does not know.
#[derive(Deserialize)]
struct TokenizerSpec {
    model: ModelSpec,
}

#[derive(Deserialize)]
struct ModelSpec {
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    unk_id: Option<u32>,
}

/// The tokenizer, plain (no padding, no truncation), and the id of its unknown token.
pub(super) fn read(bytes: &[u8], file: &Path) -> Result<(Tokenizer, Option<u32>), LocalModelError> {
    let broken = |error: &dyn std::fmt::Display| unusable(file, format!("not a tokenizer file: {error}"));
    let spec: TokenizerSpec = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| broken(&error))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| broken(&error))?;
    limit_cache(&mut tokenizer);
    let by_name = spec.model.unk_token.and_then(|token| tokenizer.token_to_id(&token));
    Ok((tokenizer, by_name.or(spec.model.unk_id)))
}

/// A tokenizer remembers up to 10,000 pieces for each thread. Where no pre-tokenizer cuts words, a piece is a whole
/// text: remembering them would cost megabytes a thread and seldom help.
fn limit_cache(tokenizer: &mut Tokenizer) {
    let capacity = if tokenizer.get_pre_tokenizer().is_some() { WORD_CACHE } else { 0 };
    let mut model: ModelWrapper = tokenizer.get_model().clone();
    model.resize_cache(capacity);
    tokenizer.with_model(model);
}
