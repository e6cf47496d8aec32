//! Decides what an error answer means for the request that got it.
//! Promise: the official client's rules, plus what they miss: an exhausted quota is final, a batch that is too
//! large is cut, an input that is named goes alone.
//! Never looks at headers other than `x-should-retry`, whose value it is given.

use reqwest::StatusCode;

use super::error_body::ErrorBody;

/// What to do with a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it again after a pause.
    Retry,
    /// Do not send it again now; a later job may.
    Later,
    /// Nothing will help until somebody changes something.
    Stop,
    /// The input at this place is at fault; the others are fine.
    Input(usize),
    /// Too much at once; the server may have said how many inputs it takes.
    TooLarge(Option<usize>),
    /// The inputs or the request may be at fault.
    Unclear,
}

/// The verdict on an answer with `status` and `body`; `should_retry` is the `x-should-retry` header.
pub(super) fn verdict(status: StatusCode, body: &ErrorBody, should_retry: Option<bool>) -> Verdict {
    if body.code == "insufficient_quota" || body.kind == "insufficient_quota" {
        return Verdict::Stop;
    }
    let transient = matches!(status.as_u16(), 408 | 409 | 424 | 429 | 500..);
    match (should_retry, transient) {
        (Some(true), _) | (None, true) => Verdict::Retry,
        (Some(false), true) => Verdict::Later,
        (_, false) => fault(status, body),
    }
}

/// Where the fault lies when repeating does not help.
fn fault(status: StatusCode, body: &ErrorBody) -> Verdict {
    match status.as_u16() {
        413 => Verdict::TooLarge(batch_limit(&body.message)),
        422 if body.message.contains("batch size") => Verdict::TooLarge(batch_limit(&body.message)),
        422 => Verdict::Unclear,
        400 => bad_request(body),
        _ => Verdict::Stop,
    }
}

fn bad_request(body: &ErrorBody) -> Verdict {
    let message = body.message.to_ascii_lowercase();
    let too_large = ["max_tokens_per_request", "context_length_exceeded"].contains(&body.code.as_str())
        || message.contains("tokens per request")
        || message.contains("maximum context length");
    if let Some(place) = named_input(&body.param).or_else(|| named_input(&body.message)) {
        return Verdict::Input(place);
    }
    if too_large {
        return Verdict::TooLarge(None);
    }
    let about_inputs = body.param.is_empty() || body.param.contains("input");
    if about_inputs && !message.contains("unrecognized request argument") {
        return Verdict::Unclear;
    }
    Verdict::Stop
}

/// `i` of the first `input[i]` in `text`.
fn named_input(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("input[")?;
    rest.split_once(']')?.0.parse().ok()
}

/// `n` of "maximum allowed batch size n", as text-embeddings-inference puts it.
fn batch_limit(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("maximum allowed batch size ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &str, kind: &str, code: &str, param: &str) -> ErrorBody {
        ErrorBody { message: message.into(), kind: kind.into(), code: code.into(), param: param.into() }
    }

    fn of(status: u16, body: &ErrorBody) -> Verdict {
        verdict(StatusCode::from_u16(status).expect("a status of the test"), body, None)
    }

    #[test]
    fn transient_states_are_retried_and_refusals_are_not() {
        let empty = ErrorBody::default();
        for status in [408, 409, 424, 429, 500, 502, 503, 504] {
            assert_eq!(of(status, &empty), Verdict::Retry, "{status}");
        }
        for status in [301, 401, 403, 404, 405] {
            assert_eq!(of(status, &empty), Verdict::Stop, "{status}");
        }
    }

    #[test]
    fn an_exhausted_quota_is_final_even_if_the_server_says_retry() {
        let quota = body("You exceeded your current quota", "insufficient_quota", "insufficient_quota", "");
        assert_eq!(of(429, &quota), Verdict::Stop);
        assert_eq!(verdict(StatusCode::TOO_MANY_REQUESTS, &quota, Some(true)), Verdict::Stop);
    }

    #[test]
    fn the_servers_word_on_retrying_counts_both_ways() {
        let empty = ErrorBody::default();
        assert_eq!(verdict(StatusCode::BAD_REQUEST, &empty, Some(true)), Verdict::Retry);
        assert_eq!(verdict(StatusCode::SERVICE_UNAVAILABLE, &empty, Some(false)), Verdict::Later);
        assert_eq!(verdict(StatusCode::UNAUTHORIZED, &empty, Some(false)), Verdict::Stop);
    }

    #[test]
    fn too_large_requests_are_cut() {
        let tokens = body("Requested 379266 tokens, max 300000 tokens per request", "", "max_tokens_per_request", "");
        assert_eq!(of(400, &tokens), Verdict::TooLarge(None));
        let tei = body("batch size 64 > maximum allowed batch size 32", "Validation", "422", "");
        assert_eq!(of(422, &tei), Verdict::TooLarge(Some(32)));
        assert_eq!(of(413, &tei), Verdict::TooLarge(Some(32)));
        assert_eq!(of(413, &ErrorBody::default()), Verdict::TooLarge(None));
        let older = body("This model's maximum context length is 8192 tokens, however …", "", "", "");
        assert_eq!(of(400, &older), Verdict::TooLarge(None));
    }

    #[test]
    fn a_named_input_is_found() {
        let named = body("Invalid 'input[17]': maximum input length is 8192 tokens.", "", "", "");
        assert_eq!(of(400, &named), Verdict::Input(17));
        assert_eq!(of(400, &body("too long", "", "", "input[3]")), Verdict::Input(3));
    }

    #[test]
    fn other_bad_requests_are_unclear_unless_another_field_is_named() {
        assert_eq!(of(400, &body("'$.input' is invalid", "", "", "")), Verdict::Unclear);
        assert_eq!(of(422, &body("tokenizer error", "Tokenizer", "422", "")), Verdict::Unclear);
        assert_eq!(of(400, &body("not supported", "", "", "dimensions")), Verdict::Stop);
        let unknown = body("Unrecognized request argument supplied: dimensions", "", "", "");
        assert_eq!(of(400, &unknown), Verdict::Stop);
    }
}
