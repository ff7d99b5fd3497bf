//! One bounded actor a device: it owns the sequence windows, the state machine, the ears and the one
//! running turn. Nothing is shared between two devices but the provider pools and the store.

mod actor;
mod ahead;
mod alarm;
mod asked;
mod asked_operations;
mod book;
mod cane;
mod due;
mod ears;
mod errands;
mod hello;
mod history;
mod info;
mod intake;
mod lanes;
mod manners;
mod metrics;
mod outgoing;
mod rooms;
mod settings;
mod settle;
mod start;
mod state;
mod take;
mod telemetry;
mod things;
mod tools;
mod turn;
mod turns;
pub mod window;

#[cfg(test)]
mod path;

pub use actor::{Limits, Notice, Parts};
pub use alarm::Alarm;
pub use ears::EarParts;
pub use history::{History, Line, Speaker};
pub use info::Info;
pub use intake::{Intake, Overdue, Stored, Taken};
pub use lanes::{Lanes, LanesClosed, Next};
pub use manners::Settings as MannersSettings;
pub use metrics::{Metrics, Totals};
pub use outgoing::{Asked, Outgoing};
pub use rooms::Rooms;
pub use settings::{OpenCane as OpenCaneSettings, Settings};
pub use start::{Handle, Starting, start};
pub use state::State;
pub use telemetry::TelemetryMemory;
pub use tools::{Asking, Call, CallError, Tool, Tools};
pub use turn::{
    FirstWords, Heard, Input, Margins, Outcome, Prepared, SharedReport, TtsMode, Turn, TurnReport, TurnRunner,
    TurnVoice, stage,
};
