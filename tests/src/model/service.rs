//! What the service does with each action, and how a broken one would.

use super::{
    actions::{Action, after_failure},
    state::{Delivery, Durability, MAX_CRASHES, Owner, Place, State, Step, Submitter, Verdict, Worker},
};

/// The service as it is, or with one of its safeguards taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// As it is.
    Whole,
    /// `settle.lua` does not look who owns the entry.
    SettlesForOthers,
    /// The settle script runs before the transaction.
    AcknowledgesFirst,
    /// The result is inserted without `on conflict do nothing`, its rows are written again.
    InsertsTwice,
    /// A worker that came back takes one fresh beat as proof that nobody claimed what it holds.
    TrustsTheHeart,
    /// `reclaim.lua` claims by age, and does not ask the hearts.
    ClaimsFromTheLiving,
    /// The relay marks its rows with the generation of its commit instead of the one that it added them for.
    MarksLate,
    /// A failure is buried as a dead letter although another delivery has committed a result.
    BuriesTheDone,
    /// `note.lua` does not look who owns the entry.
    NotesForOthers,
    /// Nobody looks for submissions whose clients died.
    ForgetsTheSubmitter,
    /// A client whose job was refused deletes the row whoever has touched it since.
    TakesBackWhatIsAnothers,
    /// A first delivery that commits late leaves the dead letter in Postgres that another has written meanwhile.
    LeavesTheBuried,
}

impl Service {
    /// What is there after an action; none when the service does not do it now.
    pub fn after(self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        if !matches!(action, Action::HandBack { .. }) && !action.is_ours() && !matches!(action, Action::Submit { .. }) {
            match action {
                Action::Say { .. } => next.n_failures -= 1,
                _ => next.n_mishaps -= 1,
            }
        }
        match action {
            Action::Submit { job } => submit(&mut next, job),
            Action::Add { job } => {
                next.jobs[job].add(0, false);
                next.jobs[job].submitter = Submitter::Added;
                next.jobs[job].is_untouched = false; // nobody asks any more
            }
            Action::Confirm { job } => {
                next.jobs[job].open = false;
                next.jobs[job].submitter = Submitter::Accepted;
            }
            Action::Refuse { job } => {
                let Submitter::Begun(generation) = next.jobs[job].submitter else { return None };
                next.jobs[job].submitter = Submitter::Refused(generation);
            }
            Action::TakeBack { job } => self.take_back(&mut next, job)?,
            Action::Abandon { job } | Action::MissSubmitter { job } => self.abandon(&mut next, job)?,
            Action::SubmitterDies { job } => {
                next.jobs[job].submitter = Submitter::Gone;
                next.jobs[job].is_untouched = false; // nobody asks any more
            }
            Action::Promote { job } => {
                let waiting = next.jobs[job].entry(0)?;
                next.jobs[job].remove(0);
                next.jobs[job].add(waiting.n_failed, waiting.relayed);
            }
            Action::Notice => next.generation = next.memory,
            Action::RelayAdd { job } => {
                next.jobs[job].relaying = Some(next.generation);
                next.jobs[job].add(0, true);
            }
            Action::RelayMark { job } => {
                let added_for = next.jobs[job].relaying.take()?;
                next.jobs[job].journal = Some(if self == Self::MarksLate { next.generation } else { added_for });
                next.jobs[job].is_untouched = false;
            }
            Action::RelayDies { job } => next.jobs[job].relaying = None,
            Action::Sweep { job } => next.jobs[job].journal = None,
            Action::LoseMemory => lose_memory(&mut next),
            _ => return self.of_worker(next, action),
        }
        Some(next)
    }

    /// One transaction. A row that is not as it was written, or gone, is the relay's: then the job is accepted.
    fn take_back(self, next: &mut State, job: usize) -> Option<()> {
        let (generation, job) = (next.generation, &mut next.jobs[job]);
        let Submitter::Refused(written) = job.submitter else { return None };
        if job.relaying.is_some() {
            return None;
        }
        let is_ours = job.journal == Some(written) && job.is_untouched && written == generation;
        job.open = false;
        if is_ours || self == Self::TakesBackWhatIsAnothers {
            job.journal = None;
            job.submitter = Submitter::Declined;
        } else {
            job.journal = job.journal.map(|_| 0);
            job.is_untouched = false;
            job.submitter = Submitter::Accepted;
        }
        Some(())
    }

    /// One transaction, which waits for a relay's lock on the journal's row.
    fn abandon(self, next: &mut State, job: usize) -> Option<()> {
        let job = &mut next.jobs[job];
        if job.relaying.is_some() || self == Self::ForgetsTheSubmitter {
            return None;
        }
        job.open = false;
        job.journal = job.journal.map(|_| 0);
        job.is_untouched = false;
        Some(())
    }

    fn of_worker(self, mut next: State, action: Action) -> Option<State> {
        match action {
            Action::Take { worker, job, entry } => take(&mut next, worker, job, entry),
            Action::MissTake { worker, job, entry } => {
                next.jobs[job].entry_mut(entry)?.place = Place::Pending(Owner::worker(worker));
            }
            Action::Claim { worker, job, entry } => self.claim(&mut next, worker, job, entry)?,
            Action::HandBack { worker, job, entry } => hand_back(&mut next, worker, job, entry),
            Action::Beat { worker } => {
                next.workers[worker].silent = false;
                if let Some(delivery) = &mut next.workers[worker].hand {
                    delivery.gap = true;
                }
            }
            Action::Crash { worker } => crash(&mut next, worker),
            Action::Pause { worker } => {
                next.workers[worker].paused = true;
                next.workers[worker].silent = true;
            }
            Action::Return { worker } => next.workers[worker].paused = false,
            Action::Ask { worker } => self.ask(&mut next, worker)?,
            Action::Commit { worker } => self.commit(&mut next, worker)?,
            Action::Settle { worker } => self.settle(&mut next, worker)?,
            _ => self.run(&mut next, action)?,
        }
        Some(next)
    }

    /// `reclaim.lua`: never what somebody holds whose heart beats.
    fn claim(self, next: &mut State, worker: usize, job: usize, id: u8) -> Option<()> {
        let workers = next.workers;
        let is_noted =
            |delivery: &Delivery| (usize::from(delivery.job), delivery.entry, delivery.is_noted()) == (job, id, true);
        let entry = next.jobs[job].entry_mut(id)?;
        let Place::Pending(owner) = entry.place else { return None };
        if let Owner::Worker(owner) = owner
            && !workers[usize::from(owner)].silent
            && self != Self::ClaimsFromTheLiving
        {
            return None;
        }
        if let Owner::Worker(owner) = owner {
            entry.died_alone |= workers[usize::from(owner)].hand.as_ref().is_some_and(is_noted);
        }
        if owner != Owner::Released && entry.n_alone == 0 {
            // More makes no difference, and would never end: two silent workers can claim from each other for ever.
            entry.n_company = (entry.n_company + 1).min(MAX_CRASHES);
        }
        let (n_company, n_alone) = (entry.n_company, entry.n_alone);
        entry.place = Place::Pending(Owner::worker(worker));
        let (n_failed, relayed) = (entry.n_failed, entry.relayed);
        next.workers[worker].hand = Some(Delivery {
            job: small(job),
            entry: id,
            n_failed,
            relayed,
            n_company,
            n_alone,
            gap: false,
            step: Step::Look,
        });
        Some(())
    }

    /// `still_ours`: a heart that the server heard all the while is proof; else the server is asked.
    fn ask(self, next: &mut State, worker: usize) -> Option<()> {
        let Worker { hand: Some(delivery), silent, .. } = next.workers[worker] else { return None };
        let Step::Told(verdict) = delivery.step else { return None };
        let unbroken = !silent && (!delivery.gap || self == Self::TrustsTheHeart);
        let ours = unbroken || next.owns(worker, &delivery);
        let journaled = next.job(&delivery).durability != Durability::Memory;
        let commits = matches!(verdict, Verdict::Done | Verdict::Dead) || (verdict == Verdict::Known && journaled);
        let commits = commits && self != Self::AcknowledgesFirst;
        let step = if commits { Step::Ours(verdict) } else { Step::Committed(verdict) };
        next.workers[worker].hand = ours.then_some(Delivery { step, ..delivery });
        Some(())
    }

    /// One transaction. The relay's lock on the journal's row makes it wait.
    fn commit(self, next: &mut State, worker: usize) -> Option<()> {
        let delivery = next.workers[worker].hand?;
        let Step::Ours(mut verdict) = delivery.step else { return None };
        let job = &mut next.jobs[usize::from(delivery.job)];
        if job.relaying.is_some() {
            return None;
        }
        match verdict {
            Verdict::Done if !job.result || self == Self::InsertsTwice => {
                job.result = true;
                job.n_effects += 1;
                let has_history = delivery.n_deaths() > 0 || delivery.n_failed > 0;
                job.buried &= self == Self::LeavesTheBuried && !has_history;
            }
            Verdict::Dead if !job.result => job.buried = true,
            Verdict::Dead if self == Self::BuriesTheDone => {}
            _ => verdict = Verdict::Known,
        }
        job.journal = None;
        let step = Step::Committed(verdict);
        let settled_already = self == Self::AcknowledgesFirst;
        next.workers[worker].hand = (!settled_already).then_some(Delivery { step, ..delivery });
        Some(())
    }

    /// `settle.lua`: what comes of it is added, then the entry goes; nothing for who does not own it.
    fn settle(self, next: &mut State, worker: usize) -> Option<()> {
        let delivery = next.workers[worker].hand.take()?;
        let Step::Committed(verdict) = delivery.step else { return None };
        if next.owns(worker, &delivery) || self == Self::SettlesForOthers {
            let job = &mut next.jobs[usize::from(delivery.job)];
            job.remove(delivery.entry);
            match verdict {
                Verdict::Retry => job.delay(delivery.n_failed + 1, delivery.relayed),
                Verdict::Dead => job.letter = true,
                Verdict::Done | Verdict::Known => {}
            }
        }
        if self == Self::AcknowledgesFirst && matches!(verdict, Verdict::Done | Verdict::Dead) {
            next.workers[worker].hand = Some(Delivery { step: Step::Ours(verdict), ..delivery });
        }
        Some(())
    }

    /// The executor's and the runner's steps with what is in hand.
    fn run(self, next: &mut State, action: Action) -> Option<()> {
        let (Action::Look { worker }
        | Action::BeginAlone { worker }
        | Action::Share { worker }
        | Action::Say { worker, .. }
        | Action::Acquit { worker }) = action
        else {
            return None;
        };
        let mut delivery = next.workers[worker].hand?;
        let has_result = next.job(&delivery).result;
        delivery.step = match (action, delivery.step) {
            (Action::Look { .. }, _) if has_result => Step::Told(Verdict::Known),
            (Action::Look { .. }, _) if delivery.n_alone > 0 && delivery.n_deaths() >= MAX_CRASHES => {
                Step::Told(Verdict::Dead)
            }
            (Action::Look { .. }, _) => Step::Run,
            (Action::BeginAlone { .. }, _) => {
                if !self.note(next, worker, &delivery, delivery.n_alone + 1) {
                    next.workers[worker].hand = None;
                    return Some(());
                }
                Step::Alone
            }
            (Action::Say { succeeds, .. }, step) => {
                let verdict = if succeeds { Verdict::Done } else { after_failure(delivery.n_failed) };
                if step == Step::Alone { Step::Acquit(verdict) } else { Step::Told(verdict) }
            }
            (Action::Share { .. }, _) => {
                self.note(next, worker, &delivery, delivery.n_alone);
                Step::Shared
            }
            (_, Step::Acquit(verdict)) => {
                self.note(next, worker, &delivery, delivery.n_alone);
                Step::Told(verdict)
            }
            _ => return None,
        };
        next.workers[worker].hand = Some(delivery);
        Some(())
    }

    /// `note.lua`: nothing for who does not own the entry.
    fn note(self, next: &mut State, worker: usize, delivery: &Delivery, n_alone: u8) -> bool {
        let ours = next.owns(worker, delivery) || self == Self::NotesForOthers;
        if let Some(entry) = next.jobs[usize::from(delivery.job)].entry_mut(delivery.entry).filter(|_| ours) {
            (entry.n_company, entry.n_alone) = (delivery.n_company, n_alone);
        }
        ours
    }
}

fn small(job: usize) -> u8 {
    u8::try_from(job).expect("a handful of jobs")
}

fn submit(next: &mut State, job: usize) {
    let generation = next.generation;
    let known = &mut next.jobs[job];
    match known.durability {
        Durability::Memory => {
            known.add(0, false);
            known.submitter = Submitter::Accepted;
        }
        Durability::Journaled => {
            known.journal = Some(generation);
            (known.is_untouched, known.open) = (true, true);
            known.submitter = Submitter::Begun(generation);
        }
        Durability::Sql => {
            known.journal = Some(0);
            known.submitter = Submitter::Accepted;
        }
    }
}

fn take(next: &mut State, worker: usize, job: usize, id: u8) {
    let Some(entry) = next.jobs[job].entry_mut(id) else { return };
    entry.place = Place::Pending(Owner::worker(worker));
    let (n_failed, relayed) = (entry.n_failed, entry.relayed);
    let step = if relayed { Step::Look } else { Step::Run };
    next.workers[worker].hand =
        Some(Delivery { job: small(job), entry: id, n_failed, relayed, n_company: 0, n_alone: 0, gap: false, step });
}

/// `release.lua`: goes to the consumer that never beats, if it is still ours.
fn hand_back(next: &mut State, worker: usize, job: usize, id: u8) {
    if next.workers[worker].hand.take().is_some() {
        next.n_mishaps -= 1; // somebody told this worker to stop
    }
    if let Some(entry) = next.jobs[job].entry_mut(id)
        && entry.place == Place::Pending(Owner::worker(worker))
    {
        entry.place = Place::Pending(Owner::Released);
    }
}

/// The process is gone; another begins under another name.
fn crash(next: &mut State, worker: usize) {
    if let Some(delivery) =
        next.workers[worker].hand.filter(|delivery| delivery.is_noted() && next.owns(worker, delivery))
        && let Some(entry) = next.jobs[usize::from(delivery.job)].entry_mut(delivery.entry)
    {
        entry.died_alone = true;
    }
    next.workers[worker] = Worker { hand: None, paused: false, silent: false };
    for entry in next.jobs.iter_mut().flat_map(|job| job.entries.iter_mut().flatten()) {
        if entry.place == Place::Pending(Owner::worker(worker)) {
            entry.place = Place::Pending(Owner::Dead);
        }
    }
}

fn lose_memory(next: &mut State) {
    next.memory += 1;
    for job in &mut next.jobs {
        job.entries = [None; 4];
        job.letter = false;
        job.lost |= job.durability == Durability::Memory && job.is_accepted() && !job.is_settled();
    }
}
