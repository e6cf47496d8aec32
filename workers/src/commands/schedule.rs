//! `tripsage schedule`: what fires again and again, and when next.

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use engine::{
    client::Submission,
    schedule::{Missed, Timetable},
    store::{NewSchedule, Schedule, Store},
};

use crate::{
    app::App,
    cli::{PriorityArg, ScheduleAddArgs, ScheduleCommand, ScheduleNameArgs, ScheduleNextArgs},
    kinds,
};

/// Carries out one of the verbs.
///
/// # Errors
/// What is wrong with the pattern, the zone, the kind or the payload; that there is no such schedule; that Postgres
/// cannot be asked.
pub async fn run(app: &App, command: &ScheduleCommand) -> anyhow::Result<()> {
    match command {
        ScheduleCommand::Add(args) => add(app, args).await,
        ScheduleCommand::List(args) => list(&app.store().await?, args.json).await,
        ScheduleCommand::Show(args) => show(&app.store().await?, args).await,
        ScheduleCommand::Pause(args) => pause(&app.store().await?, args).await,
        ScheduleCommand::Resume(args) => resume(&app.store().await?, args).await,
        ScheduleCommand::Remove(args) => remove(&app.store().await?, args).await,
        ScheduleCommand::Next(args) => next(app, args).await,
    }
}

const LONGEST_NAME: usize = 64;

fn check_name(name: &str) -> anyhow::Result<()> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_allowed) {
        return Ok(());
    }
    bail!("`{name}` is no name: expected 1 to {LONGEST_NAME} lower-case letters, digits, `-`, `_` or `.`")
}

async fn add(app: &App, args: &ScheduleAddArgs) -> anyhow::Result<()> {
    check_name(&args.name)?;
    let registry = kinds::registry();
    let Some(spec) = registry.spec(&args.kind) else {
        let known: Vec<&str> = registry.specs().iter().map(|spec| spec.kind.as_str()).collect();
        bail!("no kind `{}`; there are: {}", args.kind, known.join(", "));
    };
    let payload: serde_json::Value = serde_json::from_str(&args.payload).context("the payload is not JSON")?;
    let submission = Submission::of(spec.kind.clone(), spec.queue.clone(), &payload)?;
    if let Err(reason) = registry.check(&submission.envelope) {
        bail!("the payload is not what `{}` expects: {reason}; `tripsage schemas` writes its schema", spec.kind);
    }
    let timetable = Timetable::new(&args.cron, &args.zone)?;
    let missed: Missed = args.missed.parse().map_err(|reason: String| anyhow::anyhow!("--missed {reason}"))?;
    let store = app.store().await?;
    let schedule = NewSchedule {
        name: args.name.clone(),
        kind: spec.kind.to_string(),
        queue: spec.queue.to_string(),
        payload,
        user_id: args.user.clone(),
        priority: match args.priority {
            PriorityArg::High => 1,
            PriorityArg::Normal => 2,
            PriorityArg::Low => 3,
        },
        cron: args.cron.clone(),
        zone: args.zone.clone(),
        missed: missed.to_string(),
        next_at: timetable.next_after(store.now().await?)?,
    };
    if !store.keep_schedule(&schedule, args.replace).await? {
        bail!("there is a schedule `{}` already; --replace puts this one in its place", args.name);
    }
    let kept = find(&store, &args.name).await?;
    if args.json {
        println!("{}", serde_json::to_string(&kept)?);
    } else {
        println!("{} fires {} first at {}", kept.name, kept.kind, timetable.local(kept.next_at));
    }
    Ok(())
}

async fn find(store: &Store, name: &str) -> anyhow::Result<Schedule> {
    let found = store.schedules(Some(name)).await?.into_iter().next();
    found.with_context(|| format!("no schedule `{name}`; `tripsage schedule list` shows which there are"))
}

/// A moment as the schedule's zone shows it; UTC where the zone cannot be read.
fn local(schedule: &Schedule, moment: DateTime<Utc>) -> String {
    Timetable::new(&schedule.cron, &schedule.zone)
        .map_or_else(|_| moment.to_rfc3339(), |timetable| timetable.local(moment))
}

async fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let schedules = store.schedules(None).await?;
    for schedule in &schedules {
        if json {
            println!("{}", serde_json::to_string(schedule)?);
            continue;
        }
        let Schedule { name, kind, cron, zone, n_fired, .. } = schedule;
        let next = if schedule.paused { "paused".to_owned() } else { local(schedule, schedule.next_at) };
        println!("{name:<24} {kind:<20} {cron:<20} {zone:<16} next {next}  fired {n_fired}");
    }
    if !json && schedules.is_empty() {
        eprintln!("no schedules");
    }
    Ok(())
}

async fn show(store: &Store, args: &ScheduleNameArgs) -> anyhow::Result<()> {
    let schedule = find(store, &args.name).await?;
    if args.json {
        println!("{}", serde_json::to_string(&schedule)?);
        return Ok(());
    }
    let Schedule { name, kind, queue, cron, zone, missed, n_fired, n_skipped, .. } = &schedule;
    println!("{name}  fires {kind} (queue {queue})");
    println!("when {cron} in {zone}; missed slots: {missed}");
    match (&schedule.problem, schedule.paused) {
        (Some(problem), _) => println!("paused by a worker: {problem}"),
        (None, true) => println!("paused"),
        (None, false) => println!("next {}", local(&schedule, schedule.next_at)),
    }
    let last = schedule.last_slot.map_or_else(|| "never".to_owned(), |slot| local(&schedule, slot));
    println!("fired {n_fired}, last {last}; left out {n_skipped}");
    println!("payload:\n{}", serde_json::to_string_pretty(&schedule.payload)?);
    Ok(())
}

/// Says what was done: the schedule as JSON, or a sentence.
async fn done(store: &Store, args: &ScheduleNameArgs, sentence: &str) -> anyhow::Result<()> {
    let schedule = find(store, &args.name).await?;
    if args.json {
        println!("{}", serde_json::to_string(&schedule)?);
    } else {
        println!("{} {sentence}", schedule.name);
    }
    Ok(())
}

async fn pause(store: &Store, args: &ScheduleNameArgs) -> anyhow::Result<()> {
    store.pause_schedule(&args.name).await?;
    done(store, args, "is paused").await
}

async fn resume(store: &Store, args: &ScheduleNameArgs) -> anyhow::Result<()> {
    let schedule = find(store, &args.name).await?;
    let timetable = Timetable::new(&schedule.cron, &schedule.zone)
        .with_context(|| format!("it cannot go on; `tripsage schedule add {} … --replace` mends it", args.name))?;
    store.resume_schedule(&args.name, timetable.next_after(store.now().await?)?).await?;
    let next_at = find(store, &args.name).await?.next_at;
    done(store, args, &format!("goes on; next {}", timetable.local(next_at))).await
}

async fn remove(store: &Store, args: &ScheduleNameArgs) -> anyhow::Result<()> {
    let schedule = find(store, &args.name).await?;
    store.remove_schedule(&args.name).await?;
    if args.json {
        println!("{}", serde_json::to_string(&schedule)?);
    } else {
        println!("{} is forgotten; jobs that it fired go on", schedule.name);
    }
    Ok(())
}

async fn next(app: &App, args: &ScheduleNextArgs) -> anyhow::Result<()> {
    let (cron, zone) = (args.cron.clone(), args.zone.clone());
    // A pattern is checked before a server is asked.
    let tried = cron.map(|cron| Timetable::new(&cron, &zone)).transpose()?;
    let store = app.store().await?;
    let (timetable, after) = match (tried, &args.name) {
        (Some(timetable), _) => (timetable, store.now().await?),
        (None, Some(name)) => {
            let schedule = find(&store, name).await?;
            let timetable = Timetable::new(&schedule.cron, &schedule.zone)?;
            // A schedule that is behind has its next slot in the past.
            (timetable, store.now().await?.min(schedule.next_at - chrono::TimeDelta::milliseconds(1)))
        }
        (None, None) => bail!("say which schedule, or --cron"),
    };
    for slot in timetable.slots_after(after, usize::from(args.count)) {
        if args.json {
            println!("{}", serde_json::json!({ "slot": slot, "local": timetable.local(slot) }));
        } else {
            println!("{}   {}", timetable.local(slot), slot.to_rfc3339());
        }
    }
    Ok(())
}
