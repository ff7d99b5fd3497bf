//! The doors: bytes, credentials, rights and limits. They know nothing of sessions.

pub mod authority;
pub mod credentials;
pub mod enrolment;
pub mod firmware;
pub mod http;
pub mod mqtt;
mod quiet;
pub mod rights;
pub mod udp;
