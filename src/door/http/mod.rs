//! The operators' HTTP door: metrics and health.
