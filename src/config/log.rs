//! What is logged, how, and where to. Never opens the file: `telemetry::logs` does.

use std::path::PathBuf;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::draft::{Draft, Section};
use super::variable::{Group, Shape, Variable};

/// Settings under `TRIPSAGE_LOG_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Levels, overall and per module: `info,engine=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// A file that gets the lines too.
    pub file: Option<PathBuf>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Coloured text.
    Human,
}

const FORMATS: Shape = Shape::Choice { served: &["human", "json"], reserved: &[] };

impl Section for Log {
    const GROUP: &'static Group = &Group {
        section: "log",
        prefix: "TRIPSAGE_LOG_",
        title: "Logs",
        variables: &[
            Variable::new("level", Shape::Text, "levels, overall and per module: info,engine=debug"),
            Variable::new("format", FORMATS, "how a line looks"),
            Variable::new(
                "file",
                Shape::Text,
                "a file that gets the lines too; rolls at 10 MB and keeps 5 old ones, so one per process",
            )
            .unset("no file"),
        ],
    };

    fn check(&self, draft: &mut Draft) {
        if let Err(error) = EnvFilter::builder().parse(&self.level) {
            let text = format!("is not a list of levels ({error}); expected for example info,engine=debug");
            draft.problem(&[Self::GROUP.name("level")], text);
        }
    }
}
