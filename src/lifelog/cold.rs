//! A day's entries in one file: blocks by device, compressed, each with a checksum, and an index at the end.
//!
//! A damaged block costs its own entries only; a damaged index is made again from the blocks, which name
//! their device themselves.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::day::Day;
use super::entry::Entry;
use crate::domain::DeviceId;

const BLOCK: &[u8; 4] = b"VXLB";
const END: &[u8; 8] = b"VXLEND01";
/// magic, device's length, entries, first and last time, plain and packed length, checksum.
const BLOCK_HEAD: usize = 4 + 1 + 4 + 8 + 8 + 4 + 4 + 4;
/// Index length, its checksum, magic.
const TAIL: usize = 4 + 4 + 8;
/// Plain bytes of one block, about: what one page of a query unpacks.
const PLAIN: usize = 64 << 10;
/// More is no block of ours: a length field must not make us allocate it.
const LARGEST: usize = 16 << 20;
const LEVEL: i32 = 6;

/// Where a block is and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub device: DeviceId,
    pub from: u64,
    pub to: u64,
    offset: u64,
    length: u64,
}

/// The name of a day's file.
pub(super) fn path(dir: &Path, day: Day) -> PathBuf {
    dir.join(format!("{day}.vxl"))
}

/// The days that have a file, in order.
pub(super) fn days(dir: &Path) -> io::Result<Vec<Day>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "vxl") {
            found.extend(path.file_stem().and_then(|s| s.to_str()).and_then(Day::parse));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes a day: aside, synced, then given its name. `entries` are in order of device and time.
pub(super) fn write(dir: &Path, day: Day, entries: &[Entry]) -> io::Result<u64> {
    let mut bytes = Vec::new();
    let mut index = Vec::new();
    for of_device in entries.chunk_by(|a, b| a.device == b.device) {
        let mut rest = of_device;
        while !rest.is_empty() {
            let (plain, taken) = fill(rest)?;
            index.push(append_block(&mut bytes, &rest[..taken], &plain)?);
            rest = &rest[taken..];
        }
    }
    append_index(&mut bytes, &index)?;
    let (aside, path) = (dir.join(format!("{day}.new")), path(dir, day));
    let mut file = File::create(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, &path)?;
    File::open(dir)?.sync_all()?;
    Ok(bytes.len() as u64)
}

/// The plain bytes of the next block, and how many entries are in it.
fn fill(entries: &[Entry]) -> io::Result<(Vec<u8>, usize)> {
    let mut plain = Vec::with_capacity(PLAIN + 4_096);
    for (i, entry) in entries.iter().enumerate() {
        if plain.len() >= PLAIN {
            return Ok((plain, i));
        }
        serde_json::to_writer(&mut plain, entry)?;
        plain.push(b'\n');
    }
    Ok((plain, entries.len()))
}

fn append_block(bytes: &mut Vec<u8>, entries: &[Entry], plain: &[u8]) -> io::Result<Block> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Err(io::Error::other("a block without entries"));
    };
    let packed = zstd::bulk::compress(plain, LEVEL)?;
    let name = first.device.as_str().as_bytes();
    let start = bytes.len();
    bytes.extend_from_slice(BLOCK);
    bytes.push(u8::try_from(name.len()).map_err(io::Error::other)?);
    bytes.extend_from_slice(&u32::try_from(entries.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.extend_from_slice(&first.at.0.to_le_bytes());
    bytes.extend_from_slice(&last.at.0.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(plain.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(packed.len()).map_err(io::Error::other)?.to_le_bytes());
    let crc = checksum(&bytes[start..], name, &packed);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&packed);
    Ok(Block {
        device: first.device.clone(),
        from: first.at.0,
        to: last.at.0,
        offset: start as u64,
        length: (bytes.len() - start) as u64,
    })
}

fn checksum(head: &[u8], name: &[u8], packed: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), name), packed)
}

fn append_index(bytes: &mut Vec<u8>, index: &[Block]) -> io::Result<()> {
    let start = bytes.len();
    for block in index {
        let name = block.device.as_str().as_bytes();
        bytes.push(u8::try_from(name.len()).map_err(io::Error::other)?);
        bytes.extend_from_slice(name);
        for number in [block.from, block.to, block.offset, block.length] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    let length = u32::try_from(bytes.len() - start).map_err(io::Error::other)?;
    let crc = crc32c::crc32c(&bytes[start..]);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(END);
    Ok(())
}

/// A day's file, open to read.
pub(super) struct DayFile {
    file: File,
    path: PathBuf,
    /// All blocks, in order of device and time.
    pub blocks: Vec<Block>,
    /// The index was damaged; the blocks were found one by one.
    pub index_damaged: bool,
}

impl DayFile {
    /// Opens the file of a day; none when there is none.
    pub fn open(dir: &Path, day: Day) -> io::Result<Option<Self>> {
        let path = path(dir, day);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let (blocks, index_damaged) = match read_index(&mut file)? {
            Some(blocks) => (blocks, false),
            None => (find_blocks(&mut file)?, true),
        };
        if index_damaged {
            tracing::warn!(file = %path.display(), blocks = blocks.len(), "the index of a lifelog day is damaged");
        }
        Ok(Some(Self { file, path, blocks, index_damaged }))
    }

    /// Unpacks a block; none when it is damaged (which is logged).
    pub fn read(&mut self, block: &Block) -> io::Result<Option<Vec<Entry>>> {
        let mut bytes = vec![0; usize::try_from(block.length).unwrap_or(0).min(LARGEST)];
        self.file.seek(SeekFrom::Start(block.offset))?;
        let whole = match self.file.read_exact(&mut bytes) {
            Ok(()) => parse_block(&bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(e),
        };
        let entries = whole.and_then(|(_, plain, packed)| unpack(plain, packed));
        if entries.is_none() {
            let (file, device) = (self.path.display(), &block.device);
            tracing::warn!(%file, %device, offset = block.offset, "a lifelog block is damaged and skipped");
        }
        Ok(entries)
    }
}

fn unpack(plain: usize, packed: &[u8]) -> Option<Vec<Entry>> {
    let plain = zstd::bulk::decompress(packed, plain).ok()?;
    plain.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|l| serde_json::from_slice(l).ok()).collect()
}

fn read_index(file: &mut File) -> io::Result<Option<Vec<Block>>> {
    let size = file.metadata()?.len();
    if size < TAIL as u64 {
        return Ok(None);
    }
    let mut tail = [0; TAIL];
    file.seek(SeekFrom::Start(size - TAIL as u64))?;
    file.read_exact(&mut tail)?;
    let length = u64::from(le32(&tail, 0));
    if &tail[8..] != END || length > size - TAIL as u64 {
        return Ok(None);
    }
    let mut index = vec![0; usize::try_from(length).unwrap_or(0)];
    file.seek(SeekFrom::Start(size - TAIL as u64 - length))?;
    file.read_exact(&mut index)?;
    Ok((crc32c::crc32c(&index) == le32(&tail, 4)).then(|| parse_index(&index)).flatten())
}

fn parse_index(mut bytes: &[u8]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    while let Some((&length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(length.into())?;
        let (numbers, rest) = rest.split_at_checked(32)?;
        let device = DeviceId::parse(std::str::from_utf8(name).ok()?).ok()?;
        let [from, to, offset, length] = [0, 8, 16, 24].map(|at| le64(numbers, at));
        blocks.push(Block { device, from, to, offset, length });
        bytes = rest;
    }
    Some(blocks)
}

/// Finds whole blocks without an index.
fn find_blocks(file: &mut File) -> io::Result<Vec<Block>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let mut blocks = Vec::new();
    let mut at = 0;
    while at + BLOCK_HEAD <= bytes.len() {
        match parse_block(&bytes[at..]) {
            Some((mut block, _, _)) => {
                block.offset = at as u64;
                at += usize::try_from(block.length).unwrap_or(1);
                blocks.push(block);
            }
            None => at += 1,
        }
    }
    Ok(blocks)
}

/// A whole block at the start of `bytes`: what it is, its plain length, its packed bytes.
fn parse_block(bytes: &[u8]) -> Option<(Block, usize, &[u8])> {
    let (head, rest) = bytes.split_at_checked(BLOCK_HEAD)?;
    if &head[..4] != BLOCK {
        return None;
    }
    let (plain, length) = (le32(head, 25) as usize, le32(head, 29) as usize);
    let (name, rest) = rest.split_at_checked(head[4].into())?;
    let packed = rest.get(..length)?;
    if plain > LARGEST || checksum(&head[..BLOCK_HEAD - 4], name, packed) != le32(head, 33) {
        return None;
    }
    let device = DeviceId::parse(std::str::from_utf8(name).ok()?).ok()?;
    let length = (BLOCK_HEAD + name.len() + length) as u64;
    Some((Block { device, from: le64(head, 9), to: le64(head, 17), offset: 0, length }, plain, packed))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}
