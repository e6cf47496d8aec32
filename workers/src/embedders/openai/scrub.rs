//! Takes keys out of what a provider says.
//! Promise: neither the key nor the piece of it that error messages echo reaches a log or an error.
//! Never needs to know where in the message the key stands.

/// What stands in a key's place.
const MASK: &str = "[key]";

/// Characters of a key's start or end by which an echoed piece is known.
const PIECE_CHARS: usize = 4;

/// `message` with every word that is, holds or echoes a key replaced.
pub(super) fn scrub(message: &str, key: Option<&str>) -> String {
    let whole = match key {
        Some(key) if !key.is_empty() => message.replace(key, MASK),
        _ => message.to_owned(),
    };
    whole.split(' ').map(|word| if gives_away(word, key) { MASK } else { word }).collect::<Vec<_>>().join(" ")
}

/// Whether `word` looks like a key or a masked one (`sk-ab***yz`), or starts or ends like ours.
fn gives_away(word: &str, key: Option<&str>) -> bool {
    if word.contains("sk-") || word.contains("***") {
        return true;
    }
    let core = word.trim_matches(|character: char| !character.is_alphanumeric());
    let Some(key) = key.filter(|key| key.chars().count() >= 4 * PIECE_CHARS) else {
        return false;
    };
    let head: String = key.chars().take(2 * PIECE_CHARS).collect();
    let tail: String = key.chars().skip(key.chars().count() - PIECE_CHARS).collect();
    core.starts_with(&head) || core.ends_with(&tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_echo_of_a_key_is_masked() {
        let message = "Incorrect API key provided: sk-abcd********wxyz. You can find your API key at https://x.";
        let scrubbed = scrub(message, Some("sk-abcdefghijklmnopqrstuvwxyz"));
        assert_eq!(scrubbed, "Incorrect API key provided: [key] You can find your API key at https://x.");
    }

    #[test]
    fn a_key_of_any_form_is_masked_wherever_it_stands() {
        let key = "0123456789abcdefSECRET";
        let message = scrub(&format!("bad token=\"{key}\", starts with 01234567, ends with 'CRET'"), Some(key));
        assert_eq!(message, "bad token=\"[key]\", starts with [key] ends with [key]");
    }

    #[test]
    fn other_messages_are_left_as_they_are() {
        let message = "Rate limit reached for text-embedding-3-small in organization org-1 on tokens per min.";
        assert_eq!(scrub(message, Some("sk-abcdefghijklmnopqrstuvwxyz")), message);
        assert_eq!(scrub(message, None), message);
        assert_eq!(scrub("model not found", Some("")), "model not found");
    }
}
