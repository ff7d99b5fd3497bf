//! The operators' HTTP door: metrics and health.

mod settings;

pub use settings::Settings;
