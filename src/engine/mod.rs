//! The local engines, hosted by `voxgate engine`: a process of its own, so that a crash or a busy model does
//! not take the doors down.
//!
//! It speaks public protocols, Wyoming for speech and OpenAI-compatible HTTP for chat and embeddings, and
//! knows nothing of devices, sessions or the gateway. whisper.cpp and candle are named here and nowhere else.
//! Of the models it knows the files' places: a folder a model, with a file `READY` that is written last.

mod addrs;
mod error;
mod settings;
pub mod supervisor;

#[cfg(feature = "engine")]
mod chat;
#[cfg(feature = "engine")]
mod cores;
#[cfg(feature = "engine")]
mod ears;
#[cfg(feature = "engine")]
mod embed;
#[cfg(feature = "engine")]
mod engines;
#[cfg(feature = "engine")]
mod file;
mod lanes;
#[cfg(feature = "engine")]
mod launch;
mod level;
#[cfg(feature = "engine")]
mod listen;
#[cfg(feature = "engine")]
mod machine;
#[cfg(feature = "engine")]
mod network;
#[cfg(feature = "engine")]
mod piper;
#[cfg(feature = "engine")]
mod process;
#[cfg(feature = "engine")]
mod recognise;
#[cfg(feature = "engine")]
mod speak;
pub mod speech;
#[cfg(feature = "engine")]
mod station;
#[cfg(all(test, feature = "engine"))]
mod testing;
#[cfg(feature = "engine")]
mod transcribe;

pub use addrs::Addrs;
pub use error::EngineError;
#[cfg(feature = "engine")]
pub use launch::{give_way, settle};
#[cfg(feature = "engine")]
pub use process::{Engine, serve};
pub use settings::{Settings, Start};
