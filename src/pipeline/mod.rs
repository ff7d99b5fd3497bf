//! What is done with what devices say: voice turns, images, and questions about photos.

pub mod images;
pub mod vision;
pub mod voice;
