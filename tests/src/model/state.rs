//! What the model knows: Dragonfly's memory, Postgres' tables and the workers' hands, as small as they can be.
//!
//! Pure data; nothing happens here.

/// How many jobs there are at most.
pub const N_JOBS: usize = 3;
/// How many workers there are; one that dies is followed by another.
pub const N_WORKERS: usize = 2;
/// The last attempt that a job has.
pub const MAX_ATTEMPTS: u8 = 2;
/// How often a job may be suspected of its worker's death (the default of the settings).
pub const MAX_CRASHES: u8 = 2;

/// How a job was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Durability {
    /// XADD, and no more.
    Memory,
    /// A committed row in Postgres, then XADD, then the word that it was added.
    Journaled,
    /// A row in the caller's own transaction; the relay brings it.
    Sql,
}

/// How far a job's submitter is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Submitter {
    /// Has not begun.
    Idle,
    /// Has committed its row, with the generation that it read.
    Begun(u8),
    /// Has added the job to Dragonfly besides.
    Added,
    /// Was refused by Dragonfly, and has to take its row back.
    Refused(u8),
    /// Was told that the job is accepted.
    Accepted,
    /// Was told that the job is not accepted.
    Declined,
    /// Died before it knew.
    Gone,
}

/// Who holds a pending entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// This worker.
    Worker(u8),
    /// One that died.
    Dead,
    /// The consumer that never beats: handed back.
    Released,
}

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// In its stream, nobody's.
    Ready,
    /// In `later`.
    Later,
    /// In its stream, somebody's.
    Pending(Owner),
}

/// A job in Dragonfly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Its id in the stream, never given twice; 0 in `later`.
    pub id: u8,
    /// Where it is.
    pub place: Place,
    /// How many attempts have failed, as its envelope says.
    pub n_failed: u8,
    /// Its envelope says that the relay brought it.
    pub relayed: bool,
    /// How often its worker died beside others, as `crashes` notes it.
    pub n_company: u8,
    /// How often it began to run alone and did not end, as `crashes` notes it.
    pub n_alone: u8,
    /// Its worker died, or its lease ran out, while it ran alone: what the note should mean.
    pub died_alone: bool,
}

/// One job everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Job {
    /// What its submitter wants.
    pub durability: Durability,
    /// Its submitter.
    pub submitter: Submitter,
    /// Its entries in Dragonfly; more than one only when it was added again.
    pub entries: [Option<Entry>; 4],
    /// The last id that an entry was given.
    pub last_id: u8,
    /// Whether its letter is in Dragonfly.
    pub letter: bool,
    /// The generation of its committed row in `job_journal`.
    pub journal: Option<u8>,
    /// Whether that row is the version that its submitter wrote, as `xmin` tells; for as long as that one may ask.
    pub is_untouched: bool,
    /// Whether a row of `job_submissions` says that it is on its way to Dragonfly.
    pub open: bool,
    /// A relay has locked the row and added the job, for this generation.
    pub relaying: Option<u8>,
    /// How often its rows were written, in one transaction with its result.
    pub n_effects: u8,
    /// Whether it is in `job_results`.
    pub result: bool,
    /// Whether it is in `dead_jobs`.
    pub buried: bool,
    /// Dragonfly lost it, and nothing else had it.
    pub lost: bool,
}

/// What a worker means to do with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// A result is to be committed.
    Done,
    /// A result is committed.
    Known,
    /// It runs again.
    Retry,
    /// To the dead letters.
    Dead,
}

/// How far a worker is with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// To look for a result that an earlier delivery left.
    Look,
    /// To be run, alone if it is suspected.
    Run,
    /// Runs alone.
    Alone,
    /// Ran alone, and lets others run beside it now.
    Shared,
    /// Its handler came back, it is to be acquitted.
    Acquit(Verdict),
    /// With the settler.
    Told(Verdict),
    /// Found to be ours: to be committed.
    Ours(Verdict),
    /// Committed, where there is something to commit: to be acknowledged.
    Committed(Verdict),
}

/// A delivery in a worker's hand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Delivery {
    /// Which job.
    pub job: u8,
    /// Which entry.
    pub entry: u8,
    /// What its envelope says.
    pub n_failed: u8,
    /// What its envelope says.
    pub relayed: bool,
    /// How often a worker died that held it beside others.
    pub n_company: u8,
    /// How often one died that ran it alone.
    pub n_alone: u8,
    /// The worker's heart stood still for a lease since it came.
    pub gap: bool,
    /// What comes next.
    pub step: Step,
}

impl Delivery {
    /// Whether it runs alone and `crashes` says so.
    pub fn is_noted(&self) -> bool {
        matches!(self.step, Step::Alone | Step::Acquit(_))
    }

    /// How often a worker died that held it.
    pub fn n_deaths(&self) -> u8 {
        self.n_company + self.n_alone
    }
}

/// A worker with one slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Worker {
    /// What it has in hand.
    pub hand: Option<Delivery>,
    /// It stands still, and its lease ran out meanwhile.
    pub paused: bool,
    /// The server has not heard its heart for a lease.
    pub silent: bool,
}

/// Everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The jobs.
    pub jobs: [Job; N_JOBS],
    /// The workers.
    pub workers: [Worker; N_WORKERS],
    /// Which memory Dragonfly has.
    pub memory: u8,
    /// Which memory Postgres believes that it has.
    pub generation: u8,
    /// How many mishaps may still come.
    pub n_mishaps: u8,
    /// How many attempts may still fail.
    pub n_failures: u8,
}

impl State {
    /// Nothing has happened; these jobs may be submitted, and this may go wrong.
    pub fn new(submitted: &[Durability], n_mishaps: u8, n_failures: u8) -> Self {
        let job = Job {
            durability: Durability::Memory,
            submitter: Submitter::Idle,
            entries: [None; 4],
            last_id: 0,
            letter: false,
            journal: None,
            is_untouched: false,
            open: false,
            relaying: None,
            n_effects: 0,
            result: false,
            buried: false,
            lost: false,
        };
        let worker = Worker { hand: None, paused: false, silent: false };
        let mut jobs = [job; N_JOBS];
        for (number, job) in jobs.iter_mut().enumerate() {
            match submitted.get(number) {
                Some(durability) => job.durability = *durability,
                None => job.submitter = Submitter::Gone,
            }
        }
        Self { jobs, workers: [worker; N_WORKERS], memory: 1, generation: 1, n_mishaps, n_failures }
    }

    /// The job that a delivery is of.
    pub fn job(&self, delivery: &Delivery) -> &Job {
        &self.jobs[usize::from(delivery.job)]
    }

    /// Whether a worker still owns what it has in hand, as XPENDING would say.
    pub fn owns(&self, worker: usize, delivery: &Delivery) -> bool {
        let entry = self.job(delivery).entry(delivery.entry);
        entry.is_some_and(|entry| entry.place == Place::Pending(Owner::worker(worker)))
    }
}

impl Entry {
    fn new(id: u8, place: Place, (n_failed, relayed): (u8, bool)) -> Self {
        Self { id, place, n_failed, relayed, n_company: 0, n_alone: 0, died_alone: false }
    }
}

impl Owner {
    /// The worker of this number.
    pub fn worker(number: usize) -> Self {
        Self::Worker(u8::try_from(number).expect("a handful of workers"))
    }
}

impl Job {
    /// The entry of this id.
    pub fn entry(&self, id: u8) -> Option<Entry> {
        self.entries.iter().flatten().find(|entry| entry.id == id).copied()
    }

    /// The same, to be changed.
    pub fn entry_mut(&mut self, id: u8) -> Option<&mut Entry> {
        self.entries.iter_mut().flatten().find(|entry| entry.id == id)
    }

    /// XADD: a new entry under a new id.
    pub fn add(&mut self, n_failed: u8, relayed: bool) {
        self.last_id += 1;
        self.put(Entry::new(self.last_id, Place::Ready, (n_failed, relayed)));
    }

    /// ZADD and HSET: the same job waits once, the last envelope counts.
    pub fn delay(&mut self, n_failed: u8, relayed: bool) {
        self.remove(0);
        self.put(Entry::new(0, Place::Later, (n_failed, relayed)));
    }

    /// XACK and XDEL, or ZREM and HDEL.
    pub fn remove(&mut self, id: u8) {
        for entry in &mut self.entries {
            if entry.is_some_and(|entry| entry.id == id) {
                *entry = None;
            }
        }
        self.entries.sort_by_key(|entry| entry.map_or(u8::MAX, |entry| entry.id));
    }

    fn put(&mut self, entry: Entry) {
        let free = self.entries.iter_mut().find(|entry| entry.is_none());
        *free.expect("a job is added again once a mishap, and there are at most three") = Some(entry);
        self.entries.sort_by_key(|entry| entry.map_or(u8::MAX, |entry| entry.id));
    }

    /// Whether its submitter was told that it is accepted.
    pub fn is_accepted(&self) -> bool {
        self.submitter == Submitter::Accepted
    }

    /// Whether all that was promised for it has come true.
    pub fn is_settled(&self) -> bool {
        self.result || self.buried || self.lost
    }
}
