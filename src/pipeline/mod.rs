//! What is done with what devices say: voice turns, telemetry, images.

pub mod voice;
