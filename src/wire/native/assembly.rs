//! (first cut)
use std::time::Duration;
use bytes::Bytes;
use crate::domain::{DeviceId, ImagePart};
/// Under way.
#[derive(Debug, Default)]
pub struct Assembler;
/// Result.
#[derive(Debug)]
pub enum Assembled { /// whole
 Whole(Bytes), /// part
 Part }
impl Assembler {
    /// New.
    pub fn new() -> Self { Self }
    /// Adds.
    pub fn add(&mut self, _d: &DeviceId, part: ImagePart, _at: Duration) -> Result<Assembled, super::WireError> {
        if part.parts == 1 { Ok(Assembled::Whole(part.data)) } else { Ok(Assembled::Part) }
    }
}
