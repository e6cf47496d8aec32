//! The one form in which texts are hashed, embedded and compared.
//! Promise: two texts that read the same have the same form, and normalising twice changes nothing more.
//! Never changes letters or case: what a person wrote is what the model reads.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

/// Raised whenever [`normalize`] changes, so that vectors of the old form are not taken for those of the new.
pub const NORMALIZATION_VERSION: u32 = 1;

/// `text` in Unicode form NFC, trimmed, with each run of white space as one space. Control characters count as
/// white space: they say nothing, and Postgres refuses the zero byte.
#[must_use]
pub fn normalize(text: &str) -> String {
    let mut normalized = String::with_capacity(text.len());
    for character in text.nfc() {
        if !is_gap(character) {
            normalized.push(character);
        } else if !normalized.is_empty() && !normalized.ends_with(' ') {
            normalized.push(' ');
        }
    }
    normalized.truncate(normalized.trim_end_matches(' ').len());
    normalized
}

/// SHA-256 of a text that [`normalize`] returned; equal for texts that read the same.
#[must_use]
pub fn content_hash(normalized: &str) -> [u8; 32] {
    Sha256::digest(normalized.as_bytes()).into()
}

/// Whether `character` separates words rather than being part of one.
pub(super) fn is_gap(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn composed_and_decomposed_letters_are_one_text() {
        assert_eq!(normalize("Zu\u{308}rich"), "Zürich");
        assert_eq!(content_hash(&normalize("Zu\u{308}rich")), content_hash("Zürich"));
    }

    #[test]
    fn white_space_and_control_characters_become_single_spaces() {
        assert_eq!(normalize("\u{feff}a"), "\u{feff}a");
        assert_eq!(normalize("  two\t\r\n words\u{a0}\0here \u{2003}"), "two words here");
        assert_eq!(normalize(" \n\0 "), "");
    }

    #[test]
    fn the_hash_is_plain_sha256() {
        let hash = content_hash("abc");
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing_more(text in any::<String>()) {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once.clone());
            prop_assert!(!once.contains("  ") && !once.contains('\0') && once.trim() == once);
        }

        #[test]
        fn words_and_their_order_survive(words in proptest::collection::vec("[a-z]{1,8}", 0..20)) {
            prop_assert_eq!(normalize(&words.join(" \t ")), words.join(" "));
        }
    }
}
