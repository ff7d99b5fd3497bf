//! One bounded actor a device: it owns the sequence windows, the state machine, the ears and the one
//! running turn. Nothing is shared between two devices but the provider pools and the store.

mod actor;
mod book;
mod ears;
mod hello;
mod history;
mod info;
mod intake;
mod lanes;
mod metrics;
mod outgoing;
mod settings;
mod settle;
mod start;
mod take;
mod telemetry;
mod turn;
mod turns;
pub mod window;

pub use actor::{Limits, Notice, Parts};
pub use ears::EarParts;
pub use history::{History, Line, Speaker};
pub use info::{Info, State};
pub use intake::{Intake, Overdue, Stored, Taken};
pub use lanes::{Lanes, LanesClosed, Next};
pub use metrics::Metrics;
pub use outgoing::{Asked, Outgoing};
pub use settings::Settings;
pub use start::{Handle, Starting, start};
pub use telemetry::TelemetryMemory;
pub use turn::{Heard, Input, Outcome, SharedReport, TtsMode, Turn, TurnReport, TurnRunner, TurnVoice, stage};
