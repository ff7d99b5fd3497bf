//! Wyoming services: Home Assistant's speech to text and text to speech, and Voxgate's own engine.
//!
//! It knows what to say in which order; the bytes are `wire::wyoming`'s.

mod connection;
mod describe;
mod synthesize;
mod transcribe;

pub use connection::Address;
pub use describe::Described;
pub use synthesize::WyomingSynthesizer;
pub use transcribe::WyomingTranscriber;
