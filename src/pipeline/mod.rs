//! What is done with what devices say: voice turns and images.

pub mod images;
pub mod voice;
