//! One bounded actor a device: it owns the sequence windows, the state machine, the ears and the one
//! running turn. Nothing is shared between two devices but the provider pools and the store.

mod history;
mod lanes;
mod outgoing;
mod settings;
mod turn;

pub use history::{History, Line, Speaker};
pub use lanes::{Lanes, LanesClosed, Next};
pub use outgoing::{Asked, Outgoing};
pub use settings::Settings;
pub use turn::{Heard, Input, Outcome, SharedReport, TtsMode, Turn, TurnReport, TurnRunner, TurnVoice, stage};
