//! The body of an error answer, as OpenAI, the servers compatible with it, and gateways before them write it.
//! Promise: reads errors nested, flat or not JSON at all; the message is never empty and never long.
//! Never fails: a body that says nothing is a message that says so.

use serde_json::Value;

/// Characters of a provider's message that are kept.
const MAX_MESSAGE_CHARS: usize = 300;

/// What an error answer says, whatever its form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) message: String,
    pub(super) kind: String,
    pub(super) code: String,
    pub(super) param: String,
}

/// Reads an error body: `{"error":{…}}`, `{"error":"…"}`, `{"message":…}`, or a gateway's page.
pub(super) fn read_error(body: &[u8]) -> ErrorBody {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return ErrorBody { message: page_message(&String::from_utf8_lossy(body)), ..ErrorBody::default() };
    };
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(&value);
    let message = match error {
        Value::String(message) => message.clone(),
        _ => ["message", "detail"]
            .into_iter()
            .map(|key| text(error, key))
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
    };
    ErrorBody {
        message: shorten(if message.is_empty() { "no message" } else { &message }),
        kind: text(error, "type"),
        code: text(error, "code"),
        param: text(error, "param"),
    }
}

/// A member as text: servers write codes as strings, numbers or null.
fn text(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The title of an HTML page, or the beginning of any other text.
fn page_message(page: &str) -> String {
    if page.trim().is_empty() {
        return "no message".to_owned();
    }
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => shorten(&format!("a page instead of JSON, titled {:?}", title.trim())),
        None => shorten(&format!("not JSON: {}", page.split_whitespace().collect::<Vec<_>>().join(" "))),
    }
}

fn shorten(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_are_read_in_every_form() {
        let nested = read_error(br#"{"error":{"message":"m","type":"t","param":null,"code":400}}"#);
        assert_eq!((nested.message.as_str(), nested.kind.as_str(), nested.code.as_str()), ("m", "t", "400"));
        let flat = read_error(br#"{"message":"m","code":429,"type":"Overloaded"}"#);
        assert_eq!((flat.message.as_str(), flat.kind.as_str()), ("m", "Overloaded"));
        assert_eq!(read_error(br#"{"error":"plain"}"#).message, "plain");
        let page = read_error(b"<html><head><title>502 Bad Gateway</title></head></html>");
        assert_eq!(page.message, "a page instead of JSON, titled \"502 Bad Gateway\"");
        assert_eq!(read_error(b"").message, "no message");
        assert_eq!(read_error(&[b'x'; 900]).message.chars().count(), MAX_MESSAGE_CHARS + 1);
    }

    proptest! {
        #[test]
        fn no_body_is_too_strange_to_read(body in any::<Vec<u8>>()) {
            prop_assert!(!read_error(&body).message.is_empty());
        }
    }
}
