//! What can happen: each action is one script, one command, one transaction, or one mishap.
//!
//! | action | what it is in the service |
//! |---|---|
//! | `Submit` | XADD of a memory job (`broker/submit.rs`); the committed row of a journaled one, and its row in `job_submissions`; the commit of a row written in SQL |
//! | `Add`, `Confirm` | the journaling client adds to Dragonfly, then deletes the row in `job_submissions` |
//! | `Refuse`, `TakeBack` | the same where Dragonfly refuses the job: its row is deleted too, if it is as it was written |
//! | `Abandon` | the sweeper finds an old row in `job_submissions` and leaves the job to the relay; of a client that lives, but is slow: `MissSubmitter` |
//! | `Take` | `take.lua`; with the reply lost on the way: `MissTake` |
//! | `Look` | the executor asks `job_results` for a delivery that was claimed or relayed (`src/executor.rs`), then admits it |
//! | `BeginAlone`, `Acquit` | `note.lua` before and after a suspected job's handler |
//! | `Share` | the same while the handler runs: after one death a job is alone for a short while (`src/runner.rs`) |
//! | `Say` | the handler ends; the retry policy makes a verdict of it |
//! | `Ask` | the settler finds out what is still ours (`settler/commit.rs`): by the heart, else by `strays.lua` |
//! | `Commit` | one transaction: result and its rows, or dead letter; the journal's row goes with it (`settler/commit.rs`) |
//! | `Settle` | `settle.lua` |
//! | `Claim` | `reclaim.lua`, one entry of it |
//! | `HandBack` | `release.lua`: unbegun work of a leaving worker, and strays |
//! | `Promote` | `promote.lua` |
//! | `Beat` | `beat.lua`, the first after a silence |
//! | `Notice` | the reconciler: Dragonfly's memory is another, so the generation in Postgres grows |
//! | `RelayAdd`, `RelayMark` | the relay locks rows of older generations and adds their jobs, then marks them and commits |
//! | `Sweep` | rows of the journal whose jobs are settled are removed |
//! | `Crash`, `RelayDies`, `SubmitterDies` | a process is gone, and its open transaction with it |
//! | `Pause`, `Return` | a worker stands still for longer than its lease, and goes on where it was |
//! | `LoseMemory` | Dragonfly starts again with nothing |
//!
//! Time is left out: a lease runs out, a retry is due whenever they please, which covers every order of events.

use std::fmt::{self, Display};

use super::state::{Delivery, Job, N_JOBS, N_WORKERS, Owner, Place, State, Step, Submitter, Verdict};

/// Something that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the table above says what each is")]
pub enum Action {
    Submit { job: usize },
    Add { job: usize },
    Confirm { job: usize },
    Refuse { job: usize },
    TakeBack { job: usize },
    Abandon { job: usize },
    MissSubmitter { job: usize },
    SubmitterDies { job: usize },
    Take { worker: usize, job: usize, entry: u8 },
    MissTake { worker: usize, job: usize, entry: u8 },
    Look { worker: usize },
    BeginAlone { worker: usize },
    Share { worker: usize },
    Say { worker: usize, succeeds: bool },
    Acquit { worker: usize },
    Ask { worker: usize },
    Commit { worker: usize },
    Settle { worker: usize },
    Claim { worker: usize, job: usize, entry: u8 },
    HandBack { worker: usize, job: usize, entry: u8 },
    Promote { job: usize },
    Beat { worker: usize },
    Notice,
    RelayAdd { job: usize },
    RelayMark { job: usize },
    RelayDies { job: usize },
    Sweep { job: usize },
    Crash { worker: usize },
    Pause { worker: usize },
    Return { worker: usize },
    LoseMemory,
}

impl Action {
    /// Whether the service does it by itself, sooner or later; all else may never happen.
    pub fn is_ours(self) -> bool {
        !matches!(
            self,
            Self::Submit { .. }
                | Self::Refuse { .. }
                | Self::MissSubmitter { .. }
                | Self::SubmitterDies { .. }
                | Self::MissTake { .. }
                | Self::RelayDies { .. }
                | Self::Crash { .. }
                | Self::Pause { .. }
                | Self::LoseMemory
                | Self::Say { succeeds: false, .. }
        )
    }

    /// The job that it is about, where it is about one; a worker's is what it has in hand.
    pub fn job(self, state: &State) -> Option<usize> {
        match self {
            Self::Submit { job } | Self::Add { job } | Self::Confirm { job } | Self::SubmitterDies { job } => Some(job),
            Self::RelayAdd { job } | Self::RelayMark { job } | Self::RelayDies { job } => Some(job),
            Self::Refuse { job } | Self::TakeBack { job } => Some(job),
            Self::Abandon { job } | Self::MissSubmitter { job } => Some(job),
            Self::Promote { job } | Self::Sweep { job } => Some(job),
            Self::Take { job, .. } | Self::MissTake { job, .. } => Some(job),
            Self::Claim { job, .. } | Self::HandBack { job, .. } => Some(job),
            Self::Notice | Self::LoseMemory => None,
            Self::Look { worker } | Self::BeginAlone { worker } | Self::Share { worker } => in_hand(state, worker),
            Self::Say { worker, .. } => in_hand(state, worker),
            Self::Acquit { worker } | Self::Ask { worker } | Self::Commit { worker } => in_hand(state, worker),
            Self::Settle { worker } | Self::Beat { worker } | Self::Crash { worker } => in_hand(state, worker),
            Self::Pause { worker } | Self::Return { worker } => in_hand(state, worker),
        }
    }

    fn worker(self) -> Option<usize> {
        match self {
            Self::Take { worker, .. } | Self::MissTake { worker, .. } | Self::Claim { worker, .. } => Some(worker),
            Self::HandBack { worker, .. } | Self::Look { worker } | Self::BeginAlone { worker } => Some(worker),
            Self::Share { worker } | Self::Say { worker, .. } | Self::Acquit { worker } | Self::Ask { worker } => {
                Some(worker)
            }
            Self::Commit { worker } | Self::Settle { worker } | Self::Beat { worker } => Some(worker),
            Self::Crash { worker } | Self::Pause { worker } | Self::Return { worker } => Some(worker),
            _ => None,
        }
    }
}

fn in_hand(state: &State, worker: usize) -> Option<usize> {
    state.workers[worker].hand.map(|delivery| usize::from(delivery.job))
}

/// An action as a reader of a trace wants it: who, what, to which job, and in which step that was.
pub struct Told<'a>(pub Action, pub &'a State);

impl Display for Told<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(action, state) = self;
        let word = format!("{action:?}");
        write!(to, "{:14}", word.split(' ').next().unwrap_or_default())?;
        if let Some(worker) = action.worker() {
            write!(to, "worker {worker}  ")?;
        }
        if let Some(job) = action.job(state) {
            write!(to, "job {job} ({:?})", state.jobs[job].durability)?;
        }
        if let Some(Delivery { entry, step, .. }) = action.worker().and_then(|worker| state.workers[worker].hand) {
            write!(to, ", entry {entry}, in hand: {step:?}")?;
        }
        match action {
            Action::Take { entry, .. } | Action::MissTake { entry, .. } => write!(to, ", entry {entry}"),
            Action::Claim { entry, .. } | Action::HandBack { entry, .. } => write!(to, ", entry {entry}"),
            Action::Say { succeeds, .. } => write!(to, ", it {}", if *succeeds { "succeeds" } else { "fails" }),
            _ => Ok(()),
        }
    }
}

/// Everything that can happen now, also what a broken service would do: [`super::Service`] says what is done.
pub fn possible(state: &State, into: &mut Vec<Action>) {
    for (job, known) in state.jobs.iter().enumerate().take(N_JOBS) {
        of_submitter(state, job, known, into);
        of_journal(state, job, known, into);
        if known.entry(0).is_some() {
            into.push(Action::Promote { job });
        }
    }
    for worker in 0..N_WORKERS {
        of_worker(state, worker, into);
    }
    if state.memory != state.generation {
        into.push(Action::Notice);
    }
    if state.n_mishaps > 0 && state.jobs.iter().any(|job| job.entries[0].is_some() || job.letter) {
        into.push(Action::LoseMemory);
    }
}

fn of_submitter(state: &State, job: usize, known: &Job, into: &mut Vec<Action>) {
    match known.submitter {
        // In order: which of them comes first makes no difference that the workers' orders do not make.
        Submitter::Idle if job == 0 || state.jobs[job - 1].submitter != Submitter::Idle => {
            into.push(Action::Submit { job });
        }
        Submitter::Begun(_) => into.push(Action::Add { job }),
        Submitter::Added => into.push(Action::Confirm { job }),
        Submitter::Refused(_) => into.push(Action::TakeBack { job }),
        _ => return,
    }
    if state.n_mishaps > 0 && known.submitter != Submitter::Idle {
        into.push(Action::SubmitterDies { job });
        if matches!(known.submitter, Submitter::Begun(_)) {
            into.push(Action::Refuse { job });
        }
    }
}

fn of_journal(state: &State, job: usize, known: &Job, into: &mut Vec<Action>) {
    match known.submitter {
        Submitter::Gone if known.open => into.push(Action::Abandon { job }),
        _ if known.open && state.n_mishaps > 0 => into.push(Action::MissSubmitter { job }),
        _ => {}
    }
    if known.relaying.is_some() {
        into.push(Action::RelayMark { job });
        if state.n_mishaps > 0 {
            into.push(Action::RelayDies { job });
        }
        return;
    }
    let Some(generation) = known.journal else { return };
    if known.result || known.buried {
        into.push(Action::Sweep { job });
    } else if generation < state.generation {
        into.push(Action::RelayAdd { job });
    }
}

fn of_worker(state: &State, worker: usize, into: &mut Vec<Action>) {
    let known = &state.workers[worker];
    if known.paused {
        return into.push(Action::Return { worker });
    }
    if known.silent {
        into.push(Action::Beat { worker });
    }
    match &known.hand {
        Some(delivery) => of_hand(state, worker, delivery, into),
        // Two workers that nothing tells apart: it is the first that begins.
        None if worker > 0 && *known == state.workers[0] && !is_named(state) => {}
        None => of_free_slot(state, worker, into),
    }
}

fn is_named(state: &State) -> bool {
    let entries = state.jobs.iter().flat_map(|job| job.entries.iter().flatten());
    entries.into_iter().any(|entry| matches!(entry.place, Place::Pending(Owner::Worker(_))))
}

fn of_hand(state: &State, worker: usize, delivery: &Delivery, into: &mut Vec<Action>) {
    match delivery.step {
        Step::Look => into.push(Action::Look { worker }),
        Step::Run if delivery.n_deaths() > 1 => into.push(Action::BeginAlone { worker }),
        Step::Run | Step::Alone | Step::Shared => {
            // After one death either: its turn comes in time or does not; its patience ends before its handler or does not.
            match delivery.step {
                Step::Run if delivery.n_deaths() == 1 => into.push(Action::BeginAlone { worker }),
                Step::Alone if delivery.n_deaths() == 1 => into.push(Action::Share { worker }),
                _ => {}
            }
            into.push(Action::Say { worker, succeeds: true });
            if state.n_failures > 0 {
                into.push(Action::Say { worker, succeeds: false });
            }
        }
        Step::Acquit(_) => into.push(Action::Acquit { worker }),
        Step::Told(_) => into.push(Action::Ask { worker }),
        Step::Ours(_) => into.push(Action::Commit { worker }),
        Step::Committed(_) => into.push(Action::Settle { worker }),
    }
    if state.n_mishaps > 0 {
        into.push(Action::Crash { worker });
        if !state.workers[worker].silent {
            into.push(Action::Pause { worker });
        }
        if delivery.step == Step::Run {
            into.push(Action::HandBack { worker, job: usize::from(delivery.job), entry: delivery.entry });
        }
    }
}

fn of_free_slot(state: &State, worker: usize, into: &mut Vec<Action>) {
    for (job, known) in state.jobs.iter().enumerate() {
        for entry in known.entries.iter().flatten() {
            let entry_id = entry.id;
            match entry.place {
                Place::Ready => {
                    into.push(Action::Take { worker, job, entry: entry_id });
                    if state.n_mishaps > 0 {
                        into.push(Action::MissTake { worker, job, entry: entry_id });
                    }
                }
                // Nothing is in this hand, so its reply was lost.
                Place::Pending(owner) if owner == Owner::worker(worker) => {
                    into.push(Action::HandBack { worker, job, entry: entry_id });
                }
                Place::Pending(_) => into.push(Action::Claim { worker, job, entry: entry_id }),
                Place::Later => {}
            }
        }
    }
}

/// The verdict on a failed attempt, as [`engine`'s retry policy](engine::retry) gives it.
pub fn after_failure(n_failed: u8) -> Verdict {
    if n_failed + 1 >= super::state::MAX_ATTEMPTS { Verdict::Dead } else { Verdict::Retry }
}
