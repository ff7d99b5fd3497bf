//! Reading a model's small files with a limit: a wrong file may not fill the memory.

use std::io::Read;
use std::path::Path;

/// The whole of a file that is shorter than `most`; `what` it should be is said where it is not.
pub(super) fn read(file: &Path, most: u64, what: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| e.to_string())?;
    opened.take(most).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 == most { Err(format!("larger than {what} is")) } else { Ok(bytes) }
}
