//! Why bytes are no message. The text names what and where, and by construction never the bytes themselves.

use std::fmt;

/// The classes of errors, as metrics count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WireErrorKind {
    /// The bytes do not have the format.
    Malformed,
    /// A limit is broken.
    TooLarge,
    /// The format is right, the envelope's `type` is none that may come this way.
    UnknownType,
    /// There is no such dialect, or it has no such stream.
    Unsupported,
    /// The message says that it is another device's.
    Identity,
}

impl WireErrorKind {
    /// The label in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            WireErrorKind::Malformed => "malformed",
            WireErrorKind::TooLarge => "too_large",
            WireErrorKind::UnknownType => "unknown_type",
            WireErrorKind::Unsupported => "unsupported",
            WireErrorKind::Identity => "identity",
        }
    }
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    /// Which class.
    pub kind: WireErrorKind,
    /// What is wrong: a field's name, or a rule.
    pub what: &'static str,
    /// The byte (or the column of the JSON text) where it shows.
    pub at: Option<usize>,
}

impl WireError {
    pub(super) fn malformed(what: &'static str) -> Self {
        Self { kind: WireErrorKind::Malformed, what, at: None }
    }

    pub(super) fn too_large(what: &'static str) -> Self {
        Self { kind: WireErrorKind::TooLarge, what, at: None }
    }

    pub(super) fn unknown_type() -> Self {
        Self { kind: WireErrorKind::UnknownType, what: "the type is none that may come this way", at: None }
    }

    pub(super) fn unsupported(what: &'static str) -> Self {
        Self { kind: WireErrorKind::Unsupported, what, at: None }
    }

    pub(super) fn identity() -> Self {
        Self { kind: WireErrorKind::Identity, what: "the message names another device than the connection's", at: None }
    }

    #[must_use]
    pub(super) fn at(mut self, at: usize) -> Self {
        self.at = Some(at);
        self
    }

    /// What serde_json found; its own text is left out, as it may quote the input.
    pub(super) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        Self::malformed(what).at(error.column())
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}: {} (at byte {at})", self.kind.name(), self.what),
            None => write!(f, "{}: {}", self.kind.name(), self.what),
        }
    }
}

impl std::error::Error for WireError {}
