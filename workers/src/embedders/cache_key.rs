//! The name under which a text's vector is cached.
//! Promise: another model, size, normalisation or text gives another key, whatever the strings hold.
//! Never holds the text itself: a key can be logged.

use sha2::{Digest, Sha256};

use super::normalize::NORMALIZATION_VERSION;

/// SHA-256 of model ‖ dimensions ‖ normalisation version ‖ text. The model's length goes first, so that no model
/// name can pass for the start of a text. `normalized` is what [`normalize`](super::normalize) returned.
#[must_use]
pub fn cache_key(model: &str, dimensions: usize, normalized: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update((model.len() as u64).to_le_bytes())
        .chain_update(model)
        .chain_update((dimensions as u64).to_le_bytes())
        .chain_update(NORMALIZATION_VERSION.to_le_bytes())
        .chain_update(normalized)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_part_changes_the_key() {
        let keys = [
            cache_key("m", 256, "text"),
            cache_key("n", 256, "text"),
            cache_key("m", 512, "text"),
            cache_key("m", 256, "texts"),
            cache_key("mt", 256, "ext"),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(keys[0], cache_key("m", 256, "text"));
    }
}
