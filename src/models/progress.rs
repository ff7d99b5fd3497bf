//! What a pull tells while it runs.

use serde::Serialize;

/// A step of a pull. Bytes throughout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Event {
    /// The model is there and is what it should be.
    Already,
    /// Another pull holds the folder; this one waits for it.
    Waiting,
    /// A source is tried.
    Source {
        /// Which.
        source: String,
    },
    /// A file is on its way.
    Download {
        /// Its name.
        file: String,
        /// What is here.
        done: u64,
        /// All of it.
        total: u64,
    },
    /// What is here of an earlier, broken pull is used.
    Resume {
        /// The file.
        file: String,
        /// What is here of it.
        have: u64,
    },
    /// The connection broke; it is tried again from where it stands.
    Retry {
        /// The file.
        file: String,
        /// What happened.
        error: String,
    },
    /// A file's sum is taken.
    Verify {
        /// Its name.
        file: String,
    },
    /// Files are taken out of the downloads.
    Unpack {
        /// Done.
        done: u64,
        /// All.
        total: u64,
    },
    /// The weights are converted.
    Convert {
        /// Done.
        done: u64,
        /// All.
        total: u64,
    },
    /// A source failed; the next is tried.
    SourceFailed {
        /// Which.
        source: String,
        /// Why.
        error: String,
    },
    /// The model is ready.
    Ready {
        /// Its size on the disk.
        size: u64,
    },
}

/// Who listens. Called from several threads, must return at once.
pub trait Progress: Send + Sync {
    /// Something happened to `model`.
    fn event(&self, model: &str, event: &Event);
}

impl<F: Fn(&str, &Event) + Send + Sync> Progress for F {
    fn event(&self, model: &str, event: &Event) {
        self(model, event);
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &str, _: &Event) {}
}
