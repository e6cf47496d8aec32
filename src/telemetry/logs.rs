//! Turns log events into lines: coloured text or JSON on stderr, and in a rolling file when one is set.
//! Promise: stdout stays free for results; what was logged is in the file once the guard is dropped.
//! Never blocks a job on a slow disk: the file is written by a thread of its own.

use std::io::IsTerminal;
use std::path::PathBuf;

use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::rolling_file::RollingFile;
use crate::config::{Log, LogFormat};
use crate::{broker::CLIENT, store::NOTICES};

/// Size at which the file rolls.
const FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Old files that stay beside it.
const FILES_KEPT: u32 = 5;

/// Writes out what is still waiting when it is dropped: hold it until the program ends.
#[derive(Debug)]
#[must_use = "dropping the guard ends the log file"]
pub struct Guard {
    _file: Option<WorkerGuard>,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not understood.
    #[error("read the log levels `{level}` (expected for example info,engine=debug): {source}")]
    Level {
        /// What was set.
        level: String,
        /// The parser's reason.
        source: ParseError,
    },
    /// The file cannot be written.
    #[error("open the log file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Logging was started before.
    #[error("start logging, because it was started already: {0}")]
    Started(#[from] TryInitError),
}

/// Starts logging for the whole process; once.
///
/// # Errors
/// When the level is unreadable, the file cannot be opened, or logging has been started before.
pub fn init(log: &Log) -> Result<Guard, LogError> {
    let (file, guard) = match &log.file {
        Some(path) => {
            let rolling = RollingFile::open(path, FILE_BYTES, FILES_KEPT)
                .map_err(|source| LogError::File { path: path.clone(), source })?;
            let (writer, guard) = written_by_a_thread(rolling);
            (Some(writer), Some(guard))
        }
        None => (None, None),
    };
    let colours = std::io::stderr().is_terminal();
    subscriber(log, std::io::stderr, file, colours)?.try_init()?;
    Ok(Guard { _file: guard })
}

/// Not lossy: a burst slows its writers down rather than losing the lines that explain it.
fn written_by_a_thread(file: RollingFile) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(false).thread_name("log-file").finish(file)
}

fn subscriber<W>(
    log: &Log,
    console: W,
    file: Option<NonBlocking>,
    colours: bool,
) -> Result<impl Subscriber + Send + Sync + use<W>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Postgres notices every `if not exists` that found something, the client of Dragonfly every connection that ends;
    // whoever wants to read that names the target.
    let filter = EnvFilter::builder()
        .parse(format!("{NOTICES}=warn,{CLIENT}=error,{}", log.level))
        .map_err(|source| LogError::Level { level: log.level.clone(), source })?;
    let file = file.map(|writer| lines(log.format, writer, false));
    Ok(Registry::default().with(filter).with(lines(log.format, console, colours)).with(file))
}

/// One layer that writes lines of this format.
fn lines<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_target(true);
    match format {
        LogFormat::Human => layer.with_ansi(colours).boxed(),
        LogFormat::Json => layer.with_ansi(false).json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written when one event is logged on either side of the filter.
    fn written(format: LogFormat, file: Option<NonBlocking>) -> String {
        let lines = Lines::default();
        let log = Log { level: "warn,engine=debug".to_owned(), format, file: None };
        let writer = lines.clone();
        let subscriber = subscriber(&log, move || writer.clone(), file, false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "engine::settler", n_jobs = 3, "jobs settled");
            tracing::debug!(target: "fred", "left out");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_their_fields_and_levels_hold_per_module() {
        let text = written(LogFormat::Json, None);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "jobs settled");
        assert_eq!(line["n_jobs"], 3);
        assert_eq!(line["level"], "DEBUG");
        assert_eq!(line["target"], "engine::settler");
    }

    #[test]
    fn human_lines_are_plain_text() {
        let text = written(LogFormat::Human, None);
        assert!(text.contains("engine::settler: jobs settled n_jobs=3"), "{text}");
        assert!(!text.contains("left out"));
    }

    #[test]
    fn the_file_has_every_line_once_the_guard_is_gone() {
        let folder = std::env::temp_dir().join(format!("logs-{}", std::process::id()));
        let path = folder.join("x.log");
        let (writer, guard) = written_by_a_thread(RollingFile::open(&path, 1000, 1).unwrap());
        let _ = written(LogFormat::Human, Some(writer));
        drop(guard);
        assert!(std::fs::read_to_string(&path).unwrap().contains("jobs settled"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_wrong_level_is_named() {
        let log = Log { level: "engine=loud".to_owned(), format: LogFormat::Human, file: None };
        let error = subscriber(&log, std::io::stderr, None, false).err().unwrap();
        assert!(error.to_string().contains("engine=loud"));
    }
}
