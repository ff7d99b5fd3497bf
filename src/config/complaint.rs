//! What is wrong with a configuration: every mistake with its file, line, key and remedy.

use std::fmt;

use crate::domain::Problem;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The line, from 1; none where the file says nothing about the key.
    pub line: Option<usize>,
    /// The key, what is wrong and what mends it.
    pub problem: Problem,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {reason}; {remedy}")]
    Unreadable {
        /// Which.
        file: String,
        /// What the system says.
        reason: String,
        /// What mends it.
        remedy: String,
    },
    /// The file has mistakes: all of them, by line.
    #[error("{}", Listing { file, complaints })]
    Wrong {
        /// Which.
        file: String,
        /// What is wrong with it, in order of lines.
        complaints: Vec<Complaint>,
    },
}

impl ConfigError {
    /// A mistake that only shows outside the file, as in a certificate that it names.
    pub fn outside(file: &str, problem: Problem) -> Self {
        Self::Wrong { file: file.to_owned(), complaints: vec![Complaint { line: None, problem }] }
    }
}

/// A mistake a line, `file:line: key: what; remedy`, and their number.
struct Listing<'a> {
    file: &'a str,
    complaints: &'a [Complaint],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Complaint { line, problem } in self.complaints {
            f.write_str(self.file)?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            let key = if problem.key.is_empty() { "syntax" } else { &problem.key };
            writeln!(f, ": {key}: {}; {}", problem.what, problem.remedy)?;
        }
        let s = if self.complaints.len() == 1 { "" } else { "s" };
        write!(f, "{}: {} mistake{s}", self.file, self.complaints.len())
    }
}
