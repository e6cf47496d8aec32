//! What must hold in every state and at every step, and what must be seen at least once.
//!
//! The numbers are those of "What never happens" in ARCHITECTURE.md, where there is one.

use super::{
    actions::Action,
    state::{Durability, Entry, Job, Owner, Place, State, Step, Submitter, Verdict},
};

/// A promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Property {
    /// 1. An accepted job is somewhere: ready, later, in flight, journaled, done or dead.
    KeepsAll,
    /// 1. And it is in one place: twice only after a relay had to bring it again, never both done and dead.
    KeepsOnce,
    /// 3. A job's rows are written once, together with its result.
    WritesOnce,
    /// 4. Nothing leaves Dragonfly before its result, its dead letter or its next attempt is safe.
    CommitsFirst,
    /// 5. Who does not own an entry changes nothing in Dragonfly.
    SettlesOwn,
    /// 5. A worker whose lease ran out, and whose delivery was claimed meanwhile, writes nothing once it has been asked.
    AsksWhenLate,
    /// 6. Nothing is claimed from a worker whose heart beats.
    ClaimsFromTheDead,
    /// 14. A job is given up for its workers' deaths only when one of them died while it ran alone.
    ConvictsOnEvidence,
    /// 22. A job whose submitter was told that it is refused is nowhere, and never was done.
    RefusesWhole,
    /// When nothing more goes wrong, every accepted job is done or dead in the end, and nothing is left over.
    SettlesAll,
}

/// Something that must be possible, or the model would say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// A delivery of a dead worker was run and settled as done by another.
    DoneAfterACrash,
    /// A worker that was away too long was told that its delivery is no longer its own.
    ZombieRefused,
    /// One that was away between asking and committing lost to the first result.
    ZombieConflicts,
    /// A second delivery found the committed result and was settled with it.
    DuplicateResolved,
    /// A job that lost memory took along was brought again.
    AddedAgain,
    /// A memory job was lost with the memory.
    LostWithTheMemory,
    /// A job was given up after its last attempt.
    DeadAfterAttempts,
    /// A job was given up because its workers died.
    DeadAfterCrashes,
    /// A job was settled before its submitter was told that it is accepted.
    SettledBeforeAccepted,
    /// A job whose submitter died before it was added was brought by the relay.
    AbandonedBrought,
    /// A job that Dragonfly refused was accepted: it was the relay's by then.
    RefusalTooLate,
}

/// The promise that a state breaks.
pub fn broken_in(state: &State) -> Option<Property> {
    for job in &state.jobs {
        if job.is_accepted() && !is_somewhere(job) {
            return Some(Property::KeepsAll);
        }
        let fresh = |entry: &&Entry| !entry.relayed;
        if job.entries.iter().flatten().filter(fresh).count() > 1 || (job.result && job.buried) {
            return Some(Property::KeepsOnce);
        }
        if job.submitter == Submitter::Declined && (is_somewhere(job) || job.relaying.is_some()) {
            return Some(Property::RefusesWhole);
        }
        if job.n_effects != u8::from(job.result) {
            return Some(Property::WritesOnce);
        }
    }
    None
}

fn is_somewhere(job: &Job) -> bool {
    job.entries[0].is_some() || job.journal.is_some() || job.is_settled()
}

/// The promise that a step breaks.
pub fn broken_by(before: &State, action: Action, after: &State) -> Option<Property> {
    match action {
        Action::Settle { worker } => {
            let delivery = before.workers[worker].hand?;
            let (old, new) = (before.job(&delivery), after.job(&delivery));
            if !before.owns(worker, &delivery) {
                return (old != new).then_some(Property::SettlesOwn);
            }
            let safe = new.result || new.buried || new.entry(0).is_some();
            (!safe).then_some(Property::CommitsFirst)
        }
        Action::Commit { worker } => {
            let (old, new) = (before.workers[worker].hand?, after.workers[worker].hand?);
            let told_dead = new.step == Step::Committed(Verdict::Dead);
            (told_dead && before.job(&old).result).then_some(Property::KeepsOnce)
        }
        Action::Ask { worker } => {
            let delivery = before.workers[worker].hand?;
            let taken_away = before.job(&delivery).entry(delivery.entry).is_some() && !before.owns(worker, &delivery);
            (taken_away && after.workers[worker].hand.is_some()).then_some(Property::AsksWhenLate)
        }
        Action::Look { worker } => {
            let delivery = after.workers[worker].hand?;
            let without = before.job(&delivery).entry(delivery.entry).is_some_and(|entry| !entry.died_alone);
            (delivery.step == Step::Told(Verdict::Dead) && without).then_some(Property::ConvictsOnEvidence)
        }
        Action::Claim { job, entry, .. } => {
            let Place::Pending(Owner::Worker(owner)) = before.jobs[job].entry(entry)?.place else { return None };
            (!before.workers[usize::from(owner)].silent).then_some(Property::ClaimsFromTheDead)
        }
        _ => None,
    }
}

/// Whether nothing is left to do, and all that was accepted has come to its end.
pub fn all_settled(state: &State) -> bool {
    let settled = |job: &Job| {
        let over = !job.is_accepted() || job.is_settled();
        let begun = matches!(job.submitter, Submitter::Begun(_) | Submitter::Added | Submitter::Refused(_));
        over && !begun && !job.open && job.entries[0].is_none() && job.journal.is_none() && job.relaying.is_none()
    };
    state.jobs.iter().all(settled) && state.workers.iter().all(|worker| worker.hand.is_none())
}

/// What a step shows.
pub fn witnessed(before: &State, action: Action, after: &State) -> Option<Sight> {
    let (worker, step) = match action {
        Action::Ask { worker } | Action::Commit { worker } | Action::Settle { worker } => {
            (worker, before.workers[worker].hand?.step)
        }
        Action::RelayAdd { job } if before.jobs[job].journal == Some(0) => {
            let is_abandoned =
                before.jobs[job].submitter == Submitter::Gone && before.jobs[job].durability == Durability::Journaled;
            return is_abandoned.then_some(Sight::AbandonedBrought);
        }
        Action::TakeBack { job } => return after.jobs[job].is_accepted().then_some(Sight::RefusalTooLate),
        Action::RelayAdd { job } => {
            return (before.jobs[job].durability == Durability::Journaled).then_some(Sight::AddedAgain);
        }
        Action::LoseMemory => return after.jobs.iter().any(|job| job.lost).then_some(Sight::LostWithTheMemory),
        Action::Confirm { job } => return before.jobs[job].is_settled().then_some(Sight::SettledBeforeAccepted),
        _ => return None,
    };
    let delivery = before.workers[worker].hand?;
    let known = before.job(&delivery);
    match (action, step) {
        (Action::Ask { .. }, _) => (known.entry(delivery.entry).is_some() && after.workers[worker].hand.is_none())
            .then_some(Sight::ZombieRefused),
        (Action::Commit { .. }, Step::Ours(Verdict::Done)) if known.result => Some(Sight::ZombieConflicts),
        (Action::Settle { .. }, Step::Committed(verdict)) if before.owns(worker, &delivery) => match verdict {
            Verdict::Known => Some(Sight::DuplicateResolved),
            Verdict::Done if delivery.n_deaths() > 0 => Some(Sight::DoneAfterACrash),
            Verdict::Dead if delivery.n_alone > 0 => Some(Sight::DeadAfterCrashes),
            Verdict::Dead => Some(Sight::DeadAfterAttempts),
            _ => None,
        },
        _ => None,
    }
}
