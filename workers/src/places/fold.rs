//! Brings names and queries to one form: no case, no accents, single spaces.
//!
//! Promise: folding a folded text changes nothing, and every name in the data files folds to the
//! key that `workers/data/build_places.py` wrote for it. Never transliterates between scripts.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// The folded form of `text`: "São  Paulo" and "SAO-PAULO" both give `sao paulo`.
pub(crate) fn fold(text: &str) -> String {
    // Compatibility forms may be capitals (as in "℡"), hence lower case on both sides.
    let decomposed: String = text.to_lowercase().nfkd().collect();
    let mut folded = String::with_capacity(decomposed.len());
    let mut gap = false;
    for letter in decomposed.to_lowercase().chars() {
        if canonical_combining_class(letter) != 0 || is_dropped(letter) {
            continue;
        }
        if letter.is_alphanumeric() || is_combining_mark(letter) {
            if gap && !folded.is_empty() {
                folded.push(' ');
            }
            gap = false;
            push_plain(&mut folded, letter);
        } else {
            gap = true;
        }
    }
    folded
}

/// Signs inside words, which people leave out: "Xi'an" is typed `xian`, "St." is typed `st`.
fn is_dropped(letter: char) -> bool {
    matches!(letter, '\'' | '’' | '‘' | 'ʻ' | 'ʼ' | 'ʹ' | 'ʿ' | 'ʾ' | '`' | '´' | '.')
}

/// Letters that Unicode does not decompose but a keyboard without them writes otherwise.
fn push_plain(folded: &mut String, letter: char) {
    match letter {
        'ß' => folded.push_str("ss"),
        'þ' => folded.push_str("th"),
        'æ' => folded.push_str("ae"),
        'œ' => folded.push_str("oe"),
        'ø' => folded.push('o'),
        'ł' => folded.push('l'),
        'đ' | 'ð' => folded.push('d'),
        'ı' => folded.push('i'),
        'ħ' => folded.push('h'),
        'ς' => folded.push('σ'),
        other => folded.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn case_accents_and_punctuation_do_not_matter() {
        assert_eq!(fold("São  Paulo"), "sao paulo");
        assert_eq!(fold("SAO-PAULO "), "sao paulo");
        assert_eq!(fold("Łódź"), "lodz");
        assert_eq!(fold("Xi'an"), "xian");
        assert_eq!(fold("St. Louis"), "st louis");
        assert_eq!(fold("İstanbul"), "istanbul");
        assert_eq!(fold("Großostheim"), "grossostheim");
    }

    #[test]
    fn other_scripts_stay_what_they_are() {
        assert_eq!(fold("Москва"), "москва");
        assert_eq!(fold("東京"), "東京");
        assert_eq!(fold("?!"), "");
    }
}
