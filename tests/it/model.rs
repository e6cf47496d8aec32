//! Every order of events, with mishaps anywhere: the service keeps its promises, and a broken one is caught.

use harness::model::{Counterexample, Durability, Property, Service, Sight, State, explore};

use Durability::{Journaled, Memory, Sql};

/// The service keeps every promise with these jobs, whatever goes wrong; gives what was seen.
fn kept(jobs: &[Durability], n_mishaps: u8, n_failures: u8) -> Vec<Sight> {
    let explored = explore(Service::Whole, State::new(jobs, n_mishaps, n_failures));
    let explored = explored.unwrap_or_else(|broken| panic!("{}", broken.trace));
    explored.sights
}

fn assert_seen(seen: &[Sight], wanted: &[Sight]) {
    for sight in wanted {
        assert!(seen.contains(sight), "{sight:?} was never seen, only {seen:?}");
    }
}

#[test]
fn three_jobs_of_all_durabilities_survive_any_one_mishap() {
    let seen = kept(&[Memory, Journaled, Sql], 1, 0);
    let wanted = [Sight::DoneAfterACrash, Sight::ZombieRefused, Sight::DuplicateResolved, Sight::AddedAgain];
    assert_seen(&seen, &wanted);
}

#[test]
fn two_jobs_survive_any_two_mishaps() {
    let seen = kept(&[Memory, Journaled], 2, 0);
    assert_seen(&seen, &[Sight::DoneAfterACrash, Sight::LostWithTheMemory, Sight::AddedAgain, Sight::ZombieConflicts]);
}

#[test]
fn a_job_survives_any_three_mishaps_and_its_own_failures() {
    let seen = kept(&[Memory], 3, 2);
    assert_seen(&seen, &[Sight::DeadAfterAttempts, Sight::DeadAfterCrashes, Sight::ZombieRefused]);
}

#[test]
fn a_journaled_job_survives_any_two_mishaps_and_its_own_failures() {
    let seen = kept(&[Journaled], 2, 2);
    assert_seen(&seen, &[Sight::DeadAfterAttempts, Sight::AddedAgain, Sight::SettledBeforeAccepted]);
    assert_seen(&seen, &[Sight::AbandonedBrought, Sight::RefusalTooLate]);
    assert!(!seen.contains(&Sight::LostWithTheMemory), "what is journaled is not lost");
    let seen = kept(&[Sql], 2, 2);
    assert_seen(&seen, &[Sight::DeadAfterAttempts, Sight::DoneAfterACrash, Sight::DuplicateResolved]);
}

/// How a service without one of its safeguards is caught.
fn caught(service: Service, jobs: &[Durability]) -> Counterexample {
    let broken = explore(service, State::new(jobs, 2, 2)).expect_err("a promise is broken");
    assert!(broken.trace.lines().count() > broken.actions.len(), "each step has its line");
    *broken
}

#[test]
fn a_settle_script_that_does_not_look_who_owns_is_caught() {
    assert_eq!(caught(Service::SettlesForOthers, &[Memory]).property, Property::SettlesOwn);
}

#[test]
fn an_acknowledgement_before_the_commit_is_caught() {
    let caught = caught(Service::AcknowledgesFirst, &[Memory]);
    assert_eq!((caught.property, caught.actions.len()), (Property::CommitsFirst, 5), "{}", caught.trace);
}

#[test]
fn effects_that_are_written_twice_are_caught() {
    assert_eq!(caught(Service::InsertsTwice, &[Memory]).property, Property::WritesOnce);
}

#[test]
fn a_worker_that_came_back_and_trusts_its_own_heart_is_caught() {
    assert_eq!(caught(Service::TrustsTheHeart, &[Memory]).property, Property::AsksWhenLate);
}

#[test]
fn a_note_that_a_worker_makes_about_what_it_has_lost_is_caught() {
    let broken =
        explore(Service::NotesForOthers, State::new(&[Memory], 3, 0)).expect_err("an innocent job is given up");
    assert_eq!(broken.property, Property::ConvictsOnEvidence, "{}", broken.trace);
}

#[test]
fn a_claim_from_a_healthy_worker_is_caught() {
    assert_eq!(caught(Service::ClaimsFromTheLiving, &[Memory]).property, Property::ClaimsFromTheDead);
}

#[test]
fn a_relay_that_marks_with_a_later_generation_is_caught() {
    let caught = caught(Service::MarksLate, &[Journaled]);
    assert_eq!(caught.property, Property::SettlesAll, "{}", caught.trace);
}

#[test]
fn a_submitter_that_nobody_looks_for_when_it_died_is_caught() {
    let caught = caught(Service::ForgetsTheSubmitter, &[Journaled]);
    assert_eq!(caught.property, Property::SettlesAll, "{}", caught.trace);
}

#[test]
fn a_row_that_is_taken_back_though_the_relay_has_it_is_caught() {
    let caught = caught(Service::TakesBackWhatIsAnothers, &[Journaled]);
    assert_eq!(caught.property, Property::RefusesWhole, "{}", caught.trace);
}

#[test]
fn a_job_that_ends_both_done_and_dead_is_caught() {
    for service in [Service::BuriesTheDone, Service::LeavesTheBuried] {
        assert_eq!(caught(service, &[Memory]).property, Property::KeepsOnce);
    }
}
