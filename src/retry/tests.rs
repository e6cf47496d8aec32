//! What holds for every policy, whatever its numbers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

const ROUNDING: Duration = Duration::from_nanos(1_000);

fn backoff() -> impl Strategy<Value = Backoff> {
    prop_oneof![
        (1_u32..10).prop_map(|factor| Backoff::Exponential { factor }),
        Just(Backoff::Linear),
        Just(Backoff::Fixed)
    ]
}

fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![Just(Jitter::Full), Just(Jitter::Equal), Just(Jitter::Decorrelated), Just(Jitter::None)]
}

fn policy() -> impl Strategy<Value = RetryPolicy> {
    (backoff(), jitter(), 1_u64..100_000, 0_u64..1_000_000).prop_map(|(backoff, jitter, base_ms, more_ms)| {
        RetryPolicy {
            max_attempts: u32::MAX,
            max_age: None,
            base: Duration::from_millis(base_ms),
            backoff,
            jitter,
            cap: Duration::from_millis(base_ms + more_ms),
        }
    })
}

fn failed() -> impl Strategy<Value = FailedAttempt> {
    (1_u32..500, proptest::option::of(0_u64..10_000_000), 0.0_f64..1.0).prop_map(|(attempt, previous_ms, chance)| {
        let since_previous = previous_ms.map(Duration::from_millis);
        FailedAttempt { attempt, since_previous, chance, ..FailedAttempt::default() }
    })
}

proptest! {
    #[test]
    fn every_wait_stays_between_the_floor_and_the_cap(policy in policy(), failed in failed()) {
        let wait = policy.delay(&failed).unwrap();
        prop_assert!(wait >= MIN_DELAY && wait <= policy.cap.max(MIN_DELAY) + ROUNDING, "{wait:?}");
    }

    #[test]
    fn each_jitter_keeps_to_its_own_bounds(policy in policy(), failed in failed()) {
        let bound = policy.bound(failed.attempt);
        let wait = policy.drawn(&failed);
        match policy.jitter {
            Jitter::Full => prop_assert!(wait <= bound + ROUNDING),
            Jitter::Equal => prop_assert!(wait >= bound / 2 && wait <= bound + ROUNDING),
            Jitter::Decorrelated => prop_assert!(wait >= policy.base && wait <= policy.cap + ROUNDING),
            Jitter::None => prop_assert_eq!(wait, bound),
        }
    }

    #[test]
    fn a_bound_never_falls_from_attempt_to_attempt(policy in policy(), attempt in 1_u32..500) {
        prop_assert!(policy.bound(attempt) <= policy.bound(attempt + 1));
    }

    #[test]
    fn a_lower_cap_never_makes_a_wait_longer(policy in policy(), failed in failed(), share in 0.0_f64..1.0) {
        let lower = RetryPolicy { cap: policy.cap.mul_f64(share).max(policy.base), ..policy };
        prop_assert!(lower.delay(&failed).unwrap() <= policy.delay(&failed).unwrap() + ROUNDING);
    }

    #[test]
    fn a_retry_after_is_always_honoured(policy in policy(), failed in failed(), seconds in 0_u64..1_000_000) {
        let asked = Duration::from_secs(seconds);
        let wait = policy.delay(&FailedAttempt { at_least: Some(asked), ..failed }).unwrap();
        prop_assert!(wait >= asked);
    }

    #[test]
    fn attempts_end(policy in policy(), failed in failed(), max in 1_u32..500, own in proptest::option::of(0_u32..500)) {
        let policy = RetryPolicy { max_attempts: max, ..policy };
        let failed = FailedAttempt { job_max_attempts: own, ..failed };
        let left = failed.attempt < own.unwrap_or(max).max(1);
        prop_assert_eq!(policy.delay(&failed).is_some(), left);
    }

    #[test]
    fn no_attempt_begins_after_the_age(policy in policy(), failed in failed(), max_s in 0_u64..100_000, age_s in 0_u64..100_000) {
        let policy = RetryPolicy { max_age: Some(Duration::from_secs(max_s)), ..policy };
        let age = Duration::from_secs(age_s);
        if let Some(wait) = policy.delay(&FailedAttempt { age, ..failed }) {
            prop_assert!(age + wait <= Duration::from_secs(max_s));
        }
    }
}

fn whole(policy: RetryPolicy, attempt: u32) -> u64 {
    let exact = RetryPolicy { jitter: Jitter::None, max_attempts: 100, ..policy };
    u64::try_from(exact.delay(&FailedAttempt { attempt, ..FailedAttempt::default() }).unwrap().as_millis()).unwrap()
}

#[test]
fn bounds_grow_as_their_backoff_says() {
    let base = RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(1), ..RetryPolicy::DEFAULT };
    let grown = |backoff| [1, 2, 3, 50].map(|attempt| whole(RetryPolicy { backoff, ..base }, attempt));
    assert_eq!(grown(Backoff::Exponential { factor: 3 }), [100, 300, 900, 1_000]);
    assert_eq!(grown(Backoff::Linear), [100, 200, 300, 1_000]);
    assert_eq!(grown(Backoff::Fixed), [100, 100, 100, 100]);
}

#[test]
fn decorrelated_waits_grow_from_the_wait_before() {
    let policy = RetryPolicy { jitter: Jitter::Decorrelated, ..RetryPolicy::DEFAULT };
    let at = |since_previous| {
        policy.delay(&FailedAttempt { attempt: 2, since_previous, chance: 1.0, ..FailedAttempt::default() }).unwrap()
    };
    assert_eq!(at(None), policy.base * 3);
    assert_eq!(at(Some(Duration::from_secs(4))), Duration::from_secs(12));
    assert_eq!(at(Some(Duration::from_secs(4_000))), policy.cap);
}

#[test]
fn an_error_of_a_class_without_a_row_has_the_usual_policy() {
    const SLOW: RetryPolicy = RetryPolicy { max_attempts: 9, ..RetryPolicy::DEFAULT };
    let table = RetryTable { usual: RetryPolicy::NEVER, by_class: &[("rate_limited", SLOW)] };
    assert_eq!(table.of("rate_limited"), &SLOW);
    assert_eq!(table.of("error"), &RetryPolicy::NEVER);
    assert_eq!(table.rows().map(|(class, _)| class).collect::<Vec<_>>(), [Some("rate_limited"), None]);
}
