//! A cursor over the body of one packet: every read is checked.

use bytes::{Buf, Bytes};

use super::{CodecError, Text};

/// What is left of a packet.
#[derive(Debug)]
pub(super) struct Reader(pub Bytes);

impl Reader {
    pub fn left(&self) -> usize {
        self.0.len()
    }

    pub fn u8(&mut self) -> Result<u8, CodecError> {
        if self.0.is_empty() {
            return Err(CodecError::Malformed("packet ends early"));
        }
        Ok(self.0.get_u8())
    }

    pub fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    pub fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes([self.u8()?, self.u8()?, self.u8()?, self.u8()?]))
    }

    /// A variable byte integer: one to four bytes.
    pub fn varint(&mut self) -> Result<u32, CodecError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Malformed("variable byte integer of more than four bytes"))
    }

    pub fn take(&mut self, n: usize) -> Result<Bytes, CodecError> {
        if self.0.len() < n {
            return Err(CodecError::Malformed("packet ends early"));
        }
        Ok(self.0.split_to(n))
    }

    /// Binary data: two bytes of length and the data.
    pub fn binary(&mut self) -> Result<Bytes, CodecError> {
        let n = usize::from(self.u16()?);
        self.take(n)
    }

    pub fn text(&mut self) -> Result<Text, CodecError> {
        Text::new(self.binary()?)
    }

    /// A packet id, which is never 0.
    pub fn id(&mut self) -> Result<u16, CodecError> {
        match self.u16()? {
            0 => Err(CodecError::Malformed("packet id 0")),
            id => Ok(id),
        }
    }

    pub fn end(&self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Malformed("bytes after the end of the packet")) }
    }
}
