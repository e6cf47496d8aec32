//! What is wrong with the settings, all of it at once.
//! Promise: each problem names its variable and what was expected. Never holds a secret's value.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable, or the variables that contradict each other; a file's name for a broken file.
    pub variable: String,
    /// What is wrong, what was expected, and what to do.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.variable, self.text)
    }
}

/// Everything that is wrong, and what is doubtful beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// What stops the start; never empty.
    pub problems: Vec<Problem>,
    /// What does not stop it, such as an unknown name that was ignored: often the cause.
    pub warnings: Vec<Problem>,
}

impl Problems {
    /// Whether a problem names this variable.
    #[must_use]
    pub fn names(&self, variable: &str) -> bool {
        self.problems.iter().any(|problem| problem.variable.split(" and ").any(|name| name == variable))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(formatter, "1 setting is wrong:")?,
            n_problems => write!(formatter, "{n_problems} settings are wrong:")?,
        }
        self.problems.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))?;
        self.warnings.iter().try_for_each(|warning| write!(formatter, "\n  (warning) {warning}"))
    }
}
