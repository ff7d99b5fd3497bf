//! The bytes of a file, one at a time, with a look ahead of one and the line.

use std::io::{self, BufRead};

/// Bytes of a reader.
pub(super) struct Bytes<R> {
    input: R,
    peeked: Option<u8>,
    line: usize,
}

impl<R: BufRead> Bytes<R> {
    pub fn new(input: R) -> Self {
        Self { input, peeked: None, line: 1 }
    }

    /// From 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next one; none at the end.
    pub fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = match self.peeked.take() {
            Some(byte) => Some(byte),
            None => self.read()?,
        };
        if byte == Some(b'\n') {
            self.line += 1;
        }
        Ok(byte)
    }

    /// The next one, which stays.
    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.peeked.is_none() {
            self.peeked = self.read()?;
        }
        Ok(self.peeked)
    }

    /// The next one, when it is this.
    pub fn take(&mut self, wanted: u8) -> io::Result<bool> {
        if self.peek()? != Some(wanted) {
            return Ok(false);
        }
        self.next()?;
        Ok(true)
    }

    fn read(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.input.fill_buf() {
                Ok(buffer) => {
                    let byte = buffer.first().copied();
                    if byte.is_some() {
                        self.input.consume(1);
                    }
                    return Ok(byte);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
