//! What is done with what devices say: voice turns, images, questions about photos, calls for help.

pub mod images;
pub mod sos;
pub mod vision;
pub mod voice;
