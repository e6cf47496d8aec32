//! A static model in memory: tokenizer, vectors, and how its makers pool them.
//! Promise: the same vectors as the makers' own code, up to half precision, at unit length.
//! Never truncates: a text that is too long to mean one thing is refused.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::LocalModelError;
use super::folder::{self, ModelFiles};
use super::matrix::{self, Matrix, unusable};
use super::tokenizer;
use crate::embedders::normalize::is_gap;
use crate::embedders::{Embedded, InputError, has_direction};

/// The mean over more text than this says nothing about any of it, and tokenizing takes a thread for long.
const MAX_TEXT_BYTES: usize = 65_536;

/// A model that is ready to embed.
pub(super) struct StaticModel {
    name: String,
    tokenizer: Tokenizer,
    vectors: Matrix,
    /// Token id to row, where several tokens share one.
    mapping: Option<Vec<u32>>,
    /// Token id to weight.
    weights: Option<Vec<f32>>,
    unknown: Option<u32>,
    /// Model2vec leaves unknown tokens out of the mean, WordLlama counts them.
    skips_unknown: bool,
}

impl StaticModel {
    /// Reads the model in `folder`.
    pub(super) fn load(folder: &Path, dimensions: Option<usize>) -> Result<Self, LocalModelError> {
        let files = folder::find(folder, dimensions)?;
        let tokenizer_bytes = read(&files.tokenizer)?;
        let weight_bytes = read(&files.weights)?;
        let (tokenizer, unknown) = tokenizer::read(&tokenizer_bytes, &files.tokenizer)?;
        let tensors = SafeTensors::deserialize(&weight_bytes)
            .map_err(|error| unusable(&files.weights, format!("not a safetensors file: {error}")))?;
        let (vectors, skips_unknown) = read_vectors(&tensors, &files.weights, dimensions)?;
        let optional = |name| tensors.tensor(name).ok();
        Ok(Self {
            name: name(&files, &weight_bytes, &tokenizer_bytes),
            mapping: optional("mapping").map(|t| matrix::rows(&t, "mapping", &files.weights)).transpose()?,
            weights: optional("weights").map(|t| matrix::floats(&t, "weights", &files.weights)).transpose()?,
            tokenizer,
            vectors,
            unknown,
            skips_unknown,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn dimensions(&self) -> usize {
        self.vectors.n_columns()
    }

    /// Embeds each text by itself.
    pub(super) fn embed(&self, texts: &[String]) -> Embedded {
        let mut tokens = 0;
        let mut scratch = vec![0.0; self.dimensions()];
        let vectors = texts.iter().map(|text| self.embed_one(text, &mut scratch, &mut tokens)).collect();
        Embedded { vectors, tokens }
    }

    fn embed_one(&self, text: &str, scratch: &mut [f32], tokens: &mut u64) -> Result<Vec<f32>, InputError> {
        if text.chars().all(is_gap) {
            return Err(InputError::Empty);
        }
        if text.len() > MAX_TEXT_BYTES {
            let limit = format!("{MAX_TEXT_BYTES} bytes");
            return Err(InputError::TooLong { size_bytes: text.len(), limit });
        }
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|_| InputError::Unknown)?;
        let ids = encoding.get_ids();
        *tokens += ids.len() as u64;
        if ids.iter().all(|id| Some(*id) == self.unknown) {
            return Err(InputError::Unknown);
        }
        let sum = self.sum(ids, scratch);
        unit(sum).ok_or(InputError::NoDirection)
    }

    /// The weighted sum of the tokens' vectors. It points where their mean does, so nothing is divided here.
    fn sum(&self, ids: &[u32], scratch: &mut [f32]) -> Vec<f32> {
        let mut sum = vec![0.0; self.dimensions()];
        for id in ids {
            if self.skips_unknown && Some(*id) == self.unknown {
                continue;
            }
            let index = *id as usize;
            let row = self.mapping.as_ref().and_then(|rows| rows.get(index)).map_or(index, |row| *row as usize);
            let weight = self.weights.as_ref().and_then(|weights| weights.get(index)).copied().unwrap_or(1.0);
            self.vectors.add_row(row, weight, scratch, &mut sum);
        }
        sum
    }
}

// The tokenizer's own form would print its whole vocabulary.
impl std::fmt::Debug for StaticModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticModel").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `vector` at length 1, or nothing when it has no direction.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    #[allow(clippy::cast_possible_truncation, reason = "vectors are single precision")]
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    has_direction(&vector).then_some(vector)
}

fn read(path: &Path) -> Result<Vec<u8>, LocalModelError> {
    std::fs::read(path).map_err(|source| LocalModelError::Read { path: PathBuf::from(path), source })
}

/// The vectors, and whether unknown tokens are left out of a mean of them.
fn read_vectors(
    tensors: &SafeTensors<'_>,
    file: &Path,
    dimensions: Option<usize>,
) -> Result<(Matrix, bool), LocalModelError> {
    let names = tensors.names();
    let known = ["embeddings", "embedding.weight"];
    let Some(name) = known.into_iter().find(|name| names.contains(name)) else {
        let found = names.join(", ");
        let problem = format!("expected a tensor embeddings or embedding.weight, found {found}");
        return Err(unusable(file, problem));
    };
    let vectors = Matrix::read(tensors, name, file)?;
    let found = vectors.n_columns();
    match dimensions {
        Some(expected) if expected != found => {
            Err(LocalModelError::Dimensions { file: file.to_owned(), found, expected })
        }
        _ => Ok((vectors, name == "embeddings")),
    }
}

fn name(files: &ModelFiles, weights: &[u8], tokenizer: &[u8]) -> String {
    let digest = Sha256::new().chain_update(weights).chain_update(tokenizer).finalize();
    let fingerprint: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("local/{}@{fingerprint}", files.name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::fixture::ModelFolder;
    use super::*;

    fn complaint(folder: &ModelFolder, dimensions: usize) -> String {
        StaticModel::load(folder.path(), Some(dimensions)).unwrap_err().to_string()
    }

    #[test]
    fn a_model_of_another_size_is_refused_by_name() {
        let folder = ModelFolder::model2vec();
        let complaint = complaint(&folder, 256);
        assert!(complaint.contains("model.safetensors for local embeddings: its vectors have 2"), "{complaint}");
        assert!(complaint.contains("the settings ask for 256; leave the dimensions unset"), "{complaint}");
    }

    #[test]
    fn broken_files_are_named_with_what_was_expected() {
        let folder = ModelFolder::model2vec();
        folder.write("model.safetensors", b"not weights");
        assert!(complaint(&folder, 2).contains("model.safetensors for local embeddings: not a safetensors file"));
        let folder = ModelFolder::model2vec();
        folder.write("tokenizer.json", b"{}");
        assert!(complaint(&folder, 2).contains("tokenizer.json for local embeddings: not a tokenizer file"));
        let folder = ModelFolder::with_tensor("other", &[2, 2], &[1.0; 4]);
        assert!(complaint(&folder, 2).contains("expected a tensor embeddings or embedding.weight, found other"));
        let folder = ModelFolder::with_tensor("embeddings", &[4], &[1.0; 4]);
        assert!(complaint(&folder, 2).contains("tensor embeddings has shape [4], expected two axes"));
        let folder = ModelFolder::with_tensor("embeddings", &[2, 2], &[f32::NAN; 4]);
        assert!(complaint(&folder, 2).contains("not finite"));
    }
}
