//! How long to wait before a request is sent again: the official client's arithmetic.
//! Promise: the server's own wish is followed up to two minutes; without one the pauses double and are jittered.
//! Never reads the clock and never sleeps: time and chance are arguments.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

/// A server that wants a longer pause than this is not waited for.
pub(super) const MAX_WISH: Duration = Duration::from_secs(120);

/// The pause that the answer's headers ask for: `retry-after-ms`, else `retry-after` in seconds or as a date.
/// Nothing when absent, unreadable, or not in the future.
pub(super) fn wish(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    let seconds = number(text("retry-after-ms"))
        .map(|milliseconds| milliseconds / 1000.0)
        .or_else(|| number(text("retry-after")))
        .or_else(|| text("retry-after").and_then(|date| seconds_until(date, now)))?;
    Duration::try_from_secs_f64(seconds).ok().filter(|wish| !wish.is_zero())
}

/// The pause before retry `n_retries` (counted from 0), or nothing when it is not worth waiting here. `random` is
/// in 0..1.
pub(super) fn pause(wish: Option<Duration>, n_retries: u32, random: f64) -> Option<Duration> {
    match wish {
        Some(wish) => (wish <= MAX_WISH).then_some(wish),
        None => Some(Duration::from_secs_f64(backoff_seconds(n_retries) * (1.0 - 0.25 * random.clamp(0.0, 1.0)))),
    }
}

/// min(0.5 × 2ⁿ, 8)
fn backoff_seconds(n_retries: u32) -> f64 {
    (0.5 * f64::from(1_u32 << n_retries.min(5))).min(8.0)
}

fn seconds_until(date: &str, now: DateTime<Utc>) -> Option<f64> {
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    Some((date.to_utc() - now).as_seconds_f64())
}

/// The `x-should-retry` header, when it says one or the other.
pub(super) fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn wished(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        wish(&headers(pairs), "2015-10-21T07:28:00Z".parse().unwrap())
    }

    #[test]
    fn milliseconds_go_before_seconds_before_a_date() {
        let both = [("retry-after-ms", "312.5"), ("retry-after", "9")];
        assert_eq!(wished(&both), Some(Duration::from_micros(312_500)));
        assert_eq!(wished(&[("retry-after", "1.5")]), Some(Duration::from_millis(1500)));
        let date = [("retry-after", "Wed, 21 Oct 2015 07:28:20 GMT")];
        assert_eq!(wished(&date), Some(Duration::from_secs(20)));
        let fallback = [("retry-after-ms", "soon"), ("retry-after", "2")];
        assert_eq!(wished(&fallback), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_wish_that_says_nothing_is_ignored() {
        for value in ["0", "-3", "soon", "nan", "inf", "1e300", "Wed, 21 Oct 2015 07:27:00 GMT"] {
            assert_eq!(wished(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(wished(&[]), None);
    }

    #[test]
    fn a_wish_beyond_two_minutes_is_not_waited_for() {
        assert_eq!(pause(Some(Duration::from_secs(120)), 0, 0.5), Some(Duration::from_secs(120)));
        assert_eq!(pause(Some(Duration::from_millis(120_001)), 0, 0.5), None);
    }

    #[test]
    fn pauses_double_up_to_eight_seconds() {
        let pauses: Vec<_> = (0..7).map(|n| pause(None, n, 0.0).unwrap().as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
    }

    #[test]
    fn only_true_and_false_are_answers() {
        assert_eq!(should_retry(&headers(&[("x-should-retry", "true")])), Some(true));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "false")])), Some(false));
        assert_eq!(should_retry(&headers(&[("x-should-retry", "perhaps")])), None);
    }

    proptest! {
        #[test]
        fn jitter_takes_off_at_most_a_quarter(n in any::<u32>(), random in 0.0f64..1.0) {
            let (full, jittered) = (pause(None, n, 0.0).unwrap(), pause(None, n, random).unwrap());
            prop_assert!(jittered <= full && jittered >= full.mul_f64(0.75));
            prop_assert!(full <= Duration::from_secs(8));
        }

        #[test]
        fn no_header_makes_it_panic(value in "[ -~]{0,40}") {
            let _ = wished(&[("retry-after", &value), ("retry-after-ms", &value)]);
        }
    }
}
