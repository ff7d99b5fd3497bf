//! CTranslate2's `model.bin`: an index of named tensors, read one piece at a time.
//!
//! The layout (version 6, little endian): u32 version, text spec name, u32 revision, u32 count; for
//! each variable a text name, u8 rank, u32 a dimension, u8 type, u32 bytes, the data; then u32 count of
//! aliases, each two texts. A text is u16 length (with the closing zero) and the bytes. Nothing here
//! knows Whisper.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The versions whose layout is the one above.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=6;
/// More variables than any Whisper has (large has about 1,600).
const MAX_VARIABLES: u32 = 20_000;
/// More dimensions than any tensor has.
const MAX_RANK: u8 = 8;

/// Why a `model.bin` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Ct2Error {
    /// The file cannot be read, or ends too early.
    #[error("the weights cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Not the format that is known here.
    #[error("the weights are not in ctranslate2's format as known here: {0}")]
    Format(String),
    /// A tensor that should be there is not.
    #[error("the weights have no tensor {0}")]
    Missing(String),
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
    /// Whole numbers: kept as they are, no weights for us.
    Other(u8),
}

impl Kind {
    fn of(id: u8) -> Self {
        match id {
            0 => Kind::F32,
            4 => Kind::F16,
            5 => Kind::Bf16,
            other => Kind::Other(other),
        }
    }

    /// Bytes a number, for the float kinds.
    fn width(self) -> Option<u64> {
        match self {
            Kind::F32 => Some(4),
            Kind::F16 | Kind::Bf16 => Some(2),
            Kind::Other(_) => None,
        }
    }
}

/// Where a tensor is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Outermost first, as numpy has it.
    pub dims: Vec<u64>,
    pub kind: Kind,
    offset: u64,
    bytes: u64,
}

/// An opened file with its index.
pub(super) struct Ct2 {
    file: BufReader<File>,
    length: u64,
    pub spec: String,
    index: HashMap<String, Entry>,
}

impl Ct2 {
    /// Reads the index; no weights yet.
    pub fn open(path: &Path) -> Result<Self, Ct2Error> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let version = u32le(&mut file)?;
        if !VERSIONS.contains(&version) {
            return Err(Ct2Error::Format(format!("version {version}, known are {VERSIONS:?}")));
        }
        let spec = text(&mut file)?;
        let _revision = u32le(&mut file)?;
        let count = u32le(&mut file)?;
        if count > MAX_VARIABLES {
            return Err(Ct2Error::Format(format!("{count} variables")));
        }
        let mut index = HashMap::new();
        for _ in 0..count {
            let name = text(&mut file)?;
            let entry = entry(&mut file, &name, length)?;
            file.seek_relative(i64::try_from(entry.bytes).unwrap_or(i64::MAX))?;
            index.insert(name, entry);
        }
        Ok(Self { file, length, spec, index })
    }

    /// Bytes of the whole file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The tensor of that name.
    pub fn entry(&self, name: &str) -> Result<&Entry, Ct2Error> {
        self.index.get(name).ok_or_else(|| Ct2Error::Missing(name.to_owned()))
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// A number stored as a 16 bit scalar, such as `encoder/num_heads`.
    pub fn short(&mut self, name: &str) -> Result<u16, Ct2Error> {
        let entry = self.entry(name)?;
        let (offset, fits) = (entry.offset, entry.kind == Kind::Other(2) && entry.bytes == 2);
        if !fits {
            return Err(Ct2Error::Format(format!("{name} is not one 16 bit number")));
        }
        self.file.seek(SeekFrom::Start(offset))?;
        let mut bytes = [0; 2];
        self.file.read_exact(&mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// `count` numbers of a float tensor from the `first` on (counted over the whole tensor, row by row),
    /// appended to `into` after it is cleared.
    pub fn floats(&mut self, name: &str, first: u64, count: usize, into: &mut Vec<f32>) -> Result<(), Ct2Error> {
        let entry = self.entry(name)?;
        let (kind, offset, total) = (entry.kind, entry.offset, entry.bytes);
        let width = kind.width().ok_or_else(|| {
            Ct2Error::Format(format!("{name} holds no floating point numbers; quantised weights cannot be converted"))
        })?;
        let bytes = (count as u64).saturating_mul(width);
        if first.saturating_mul(width).saturating_add(bytes) > total {
            return Err(Ct2Error::Format(format!("{name} is shorter than its shape")));
        }
        self.file.seek(SeekFrom::Start(offset + first * width))?;
        let mut raw = vec![0; usize::try_from(bytes).map_err(|_| Ct2Error::Format("a piece too large".into()))?];
        self.file.read_exact(&mut raw)?;
        into.clear();
        match kind {
            Kind::F32 => into.extend(raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
            Kind::F16 => into.extend(raw.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())),
            Kind::Bf16 => into.extend(raw.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())),
            Kind::Other(_) => {}
        }
        Ok(())
    }
}

/// One entry of the index; the reader stands at its data afterwards.
fn entry(file: &mut BufReader<File>, name: &str, length: u64) -> Result<Entry, Ct2Error> {
    let rank = u8le(file)?;
    if rank > MAX_RANK {
        return Err(Ct2Error::Format(format!("{name} has {rank} dimensions")));
    }
    let mut dims = Vec::with_capacity(rank.into());
    for _ in 0..rank {
        dims.push(u64::from(u32le(file)?));
    }
    let kind = Kind::of(u8le(file)?);
    let bytes = u64::from(u32le(file)?);
    let offset = file.stream_position()?;
    if offset.saturating_add(bytes) > length {
        return Err(Ct2Error::Format(format!("the file ends inside {name}")));
    }
    let numbers = dims.iter().try_fold(1_u64, |all, &one| all.checked_mul(one));
    if let Some(width) = kind.width()
        && numbers.and_then(|n| n.checked_mul(width)) != Some(bytes)
    {
        return Err(Ct2Error::Format(format!("{name} has {bytes} bytes for the shape {dims:?}")));
    }
    Ok(Entry { dims, kind, offset, bytes })
}

fn u8le(file: &mut impl Read) -> Result<u8, Ct2Error> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn u32le(file: &mut impl Read) -> Result<u32, Ct2Error> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn text(file: &mut impl Read) -> Result<String, Ct2Error> {
    let mut length = [0; 2];
    file.read_exact(&mut length)?;
    let mut bytes = vec![0; u16::from_le_bytes(length).into()];
    file.read_exact(&mut bytes)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| Ct2Error::Format("a name is not text".into()))
}
