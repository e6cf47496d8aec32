//! How far a phase is: a bar on a terminal, plain lines elsewhere. On stderr: stdout is for the report.

use std::{io::IsTerminal as _, time::Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The progress of one phase.
pub(super) struct Progress {
    bar: ProgressBar,
    label: &'static str,
    begun: Instant,
}

impl Progress {
    /// Nothing is done yet of `n_jobs`.
    pub(super) fn begin(label: &'static str, n_jobs: usize) -> Self {
        let shown = std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{msg:30} {bar:40} {pos}/{len} {elapsed}");
        let style = style.expect("the template is well formed; a test holds it to it");
        let bar = ProgressBar::with_draw_target(Some(n_jobs as u64), target).with_style(style).with_message(label);
        if !shown {
            eprintln!("· {label}: {n_jobs} jobs");
        }
        Self { bar, label, begun: Instant::now() }
    }

    /// So many are not settled yet.
    pub(super) fn left(&self, n_left: usize) {
        self.bar.set_position(self.bar.length().unwrap_or_default().saturating_sub(n_left as u64));
    }

    /// The phase is over.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
        eprintln!("· {}: over after {:.1} s", self.label, self.begun.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_what_is_not_left() {
        let progress = Progress::begin("a test", 10);
        progress.left(4);
        assert_eq!(progress.bar.position(), 6);
        progress.end();
    }
}
