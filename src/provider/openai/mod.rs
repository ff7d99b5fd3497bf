//! OpenAI-compatible HTTP services: chat, embeddings, transcription, speech.
//!
//! One form for OpenAI, Ollama, vLLM, llama.cpp's server, Groq, LocalAI, and Voxgate's own engine. It knows
//! their JSON and their streams; it must not know sessions.

mod audio;
mod chat;
mod embed;
mod thoughts;
mod upload;

pub use super::target::Target;
pub use audio::{OpenAiSynthesizer, OpenAiTranscriber};
pub use chat::OpenAiChat;
pub use embed::OpenAiEmbedder;
