//! The binary `tripsage`: reads the settings, then does what the command line says.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

use std::process::ExitCode;

use clap::Parser;
use engine::telemetry::logs;
use workers::{
    app::App,
    cli::{Cli, Command, ConfigCommand, QueuesArgs},
    commands,
    settings::Settings,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = match Settings::from_process(cli.config.as_deref()) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    let _guard = match logs::init(&settings.log) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &settings.warnings {
        tracing::warn!(variable = warning.variable, "{}", warning.text);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(&App { settings }, cli.command)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", commands::told(&error));
            ExitCode::from(commands::status(&error))
        }
    }
}

async fn run(app: &App, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Worker(args) => commands::worker::run(app, &args).await,
        Command::Migrate(args) => commands::migrate::run(app, &args).await,
        Command::Enqueue(args) => commands::enqueue::run(app, &args).await,
        Command::Watch(args) => commands::watch::run(app, &args).await,
        Command::Queues(QueuesArgs { command: None, json }) => commands::queues::run(app, json).await,
        Command::Queues(QueuesArgs { command: Some(command), .. }) => commands::decide::run(app, &command).await,
        Command::Job(args) => commands::job::run(app, &args).await,
        Command::Dead(command) => commands::dead::run(app, &command).await,
        Command::Schedule(command) => commands::schedule::run(app, &command).await,
        Command::Config(ConfigCommand::Show(args)) => {
            commands::config::print(&app.settings, args.json);
            Ok(())
        }
        Command::Config(ConfigCommand::Check(args)) => commands::config::check_all(app, args.json).await,
        Command::Kinds(args) => {
            commands::kinds::run(args.json);
            Ok(())
        }
        Command::Schemas(args) => commands::schemas::run(&args.out),
        Command::Index => commands::index::run(app).await,
        Command::Health(args) => {
            commands::health::run(args.port.unwrap_or(app.settings.application.api_port), args.ready).await
        }
        Command::Demo(args) => commands::demo::run(app, &args).await,
    }
}
