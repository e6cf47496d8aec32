//! Slots, gaps and what was missed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn berlin(pattern: &str) -> Timetable {
    Timetable::new(pattern, "Europe/Berlin").unwrap()
}

/// The slots as the zone's clocks show them.
fn local(pattern: &str, after: &str, limit: usize) -> Vec<String> {
    let timetable = berlin(pattern);
    timetable.slots_after(at(after), limit).map(|slot| timetable.local(slot)).collect()
}

#[test]
fn in_spring_a_fixed_time_that_is_left_out_comes_right_after_the_gap() {
    assert_eq!(
        local("30 2 * * *", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
}

#[test]
fn in_spring_an_interval_has_no_slot_in_the_gap() {
    assert_eq!(
        local("*/30 * * * *", "2026-03-29T00:00:00Z", 3),
        ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]
    );
}

#[test]
fn in_autumn_a_fixed_time_that_comes_twice_runs_the_first_time() {
    assert_eq!(
        local("30 2 * * *", "2026-10-24T10:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
}

#[test]
fn in_autumn_an_interval_runs_through_the_doubled_hour() {
    assert_eq!(
        local("*/30 * * * *", "2026-10-24T23:30:00Z", 5),
        [
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T03:00:00+01:00"
        ]
    );
}

#[test]
fn what_cannot_be_read_says_what_was_expected() {
    let pattern = Timetable::new("61 * * * *", "UTC").unwrap_err().to_string();
    assert!(
        pattern.contains("`61 * * * *`") && pattern.contains("out of bounds") && pattern.contains("*/15"),
        "{pattern}"
    );
    let zone = Timetable::new("* * * * *", "Europe/Berln").unwrap_err().to_string();
    assert!(zone.contains("`Europe/Berln`") && zone.contains("Europe/Berlin"), "{zone}");
    assert!(Timetable::new("", "UTC").is_err());
}

#[test]
fn nothing_is_due_before_its_time() {
    let next_at = at("2026-01-01T00:00:00Z");
    let early = due(&berlin("@hourly"), Missed::All(9), next_at, at("2025-12-31T23:59:59Z")).unwrap();
    assert_eq!(early, Due { slots: Vec::new(), n_skipped: 0, next_at });
}

#[test]
fn missed_slots_are_skipped_run_once_or_all_as_the_policy_says() {
    let hours = Timetable::new("0 * * * *", "UTC").unwrap();
    let (next_at, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T05:30:00Z"));
    let told = |missed| due(&hours, missed, next_at, now).unwrap();
    let hour = |hour: u32| at(&format!("2026-01-01T{hour:02}:00:00Z"));
    assert_eq!(told(Missed::Skip), Due { slots: vec![], n_skipped: 6, next_at: hour(6) });
    assert_eq!(told(Missed::Once), Due { slots: vec![hour(5)], n_skipped: 5, next_at: hour(6) });
    assert_eq!(told(Missed::All(2)), Due { slots: vec![hour(4), hour(5)], n_skipped: 4, next_at: hour(6) });
    assert_eq!(told(Missed::All(100)).slots.len(), 6);
}

#[test]
fn a_long_absence_is_walked_through_in_steps() {
    let seconds = Timetable::new("* * * * * *", "UTC").unwrap();
    let (start, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T03:00:00Z"));
    let first = due(&seconds, Missed::Once, start, now).unwrap();
    assert_eq!((first.slots.len(), first.n_skipped), (0, 10_000));
    let second = due(&seconds, Missed::Once, first.next_at, now).unwrap();
    assert_eq!((second.slots, second.n_skipped), (vec![now], 800));
}

#[test]
fn a_slot_that_a_worker_meets_a_moment_late_is_not_missed() {
    let hours = Timetable::new("0 * * * *", "UTC").unwrap();
    let slot = at("2026-01-01T05:00:00Z");
    let late = |seconds| due(&hours, Missed::Skip, slot, slot + chrono::TimeDelta::seconds(seconds)).unwrap().slots;
    assert_eq!((late(0), late(60), late(61)), (vec![slot], vec![slot], vec![]));
}

#[test]
fn the_policies_names_are_read_as_they_are_written() {
    for policy in [Missed::Skip, Missed::Once, Missed::All(7)] {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    for wrong in ["", "all", "all:0", "all:1001", "twice"] {
        assert!(wrong.parse::<Missed>().unwrap_err().contains("all:N"), "{wrong}");
    }
}

#[test]
fn a_slot_has_one_job_id_and_no_other_slot_has_it() {
    let slot = at("2026-01-01T05:00:00Z");
    let id = job_id("nightly", slot);
    assert_eq!(id, job_id("nightly", slot));
    assert_ne!(id, job_id("weekly", slot));
    assert_ne!(id, job_id("nightly", slot + chrono::TimeDelta::hours(1)));
    assert_eq!((id.0.get_version_num(), id < job_id("nightly", slot + chrono::TimeDelta::hours(1))), (7, true));
}

proptest! {
    #[test]
    fn every_slot_that_passed_is_run_or_counted_once(minutes in 1_i64..3_000, limit in 1_u32..50, step in 1_u32..30) {
        let timetable = berlin(&format!("*/{step} * * * *"));
        let start = timetable.next_after(at("2026-03-28T00:00:00Z")).unwrap();
        let now = start + chrono::TimeDelta::minutes(minutes);
        let n_passed = 1 + timetable.slots_after(start, 5_000).take_while(|slot| *slot <= now).count();
        for missed in [Missed::Skip, Missed::Once, Missed::All(limit)] {
            let due = due(&timetable, missed, start, now).unwrap();
            prop_assert_eq!(due.slots.len() + due.n_skipped, n_passed);
            prop_assert!(due.next_at > now && due.slots.iter().all(|slot| *slot <= now));
        }
    }
}
