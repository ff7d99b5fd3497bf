//! Why an engine did not do it.

/// A failed engine call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The model is not there; the text says what mends it.
    #[error("{0}")]
    Missing(String),
    /// Switched off in the configuration.
    #[error("{0} is switched off in [engine]")]
    Off(&'static str),
    /// Too many calls wait already.
    #[error("the engine is busy: too many calls are waiting")]
    Busy,
    /// The request cannot be served as it is.
    #[error("{0}")]
    Request(String),
    /// The model file is damaged or of another kind.
    #[error("the model cannot be loaded: {0}")]
    Load(String),
    /// The engine failed at work.
    #[error("the engine failed: {0}")]
    Failed(String),
    /// The process is stopping.
    #[error("the engine is stopping")]
    Stopping,
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// The address or path.
        addr: String,
        /// What the system says.
        reason: String,
    },
}

impl EngineError {
    /// A short name for machines.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Missing(_) => "model_missing",
            EngineError::Off(_) => "off",
            EngineError::Busy => "busy",
            EngineError::Request(_) => "invalid_request",
            EngineError::Load(_) => "model_damaged",
            EngineError::Failed(_) => "engine_failed",
            EngineError::Stopping => "stopping",
            EngineError::Listen { .. } => "listen",
        }
    }
}
