//! The archive's table of contents, read by hand before any other reader sees the file.
//!
//! Zip readers forgive much: bytes before and after, a count that does not fit, two entries of one name. Two readers then see two archives. Here there is one way
//! to read it: the last end record must end the file, the table of contents must end where the end record begins, and hold exactly as many entries as it says.
//! The numbers are those of PKWARE's APPNOTE, sections 4.3.12 to 4.3.16 and 4.5.3.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
};

use super::{ArchiveError, Limits, shown};

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const SPLIT: [u8; 4] = *b"PK\x07\x08";

const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
const LONGEST_COMMENT: usize = 0xFFFF;
/// Bit 0: encrypted; bit 6: strong encryption; bit 13: names hidden by it.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const EXTRA_64: u16 = 1;

/// Where the table of contents lies, and how many entries it must hold.
struct Directory {
    start: u64,
    size: u64,
    entries: u64,
}

/// Checks structure, sizes, names and encryption of all entries. Nothing is unpacked.
pub(super) fn check(file: &mut File, limits: &Limits) -> Result<(), ArchiveError> {
    let length = file.metadata().map_err(ArchiveError::Read)?.len();
    let directory = find(file, length)?;
    if directory.entries > limits.entries || directory.size > limits.directory {
        return Err(ArchiveError::TooManyEntries { limit: limits.entries });
    }
    let unpacked = walk(file, &directory)?;
    if unpacked > limits.unpacked {
        return Err(ArchiveError::TooLarge { unpacked, limit: limits.unpacked });
    }
    if unpacked >= limits.ratio_from && unpacked / limits.ratio.max(1) > length {
        return Err(ArchiveError::RatioTooHigh { limit: limits.ratio });
    }
    Ok(())
}

fn find(file: &mut File, length: u64) -> Result<Directory, ArchiveError> {
    let mut head = [0; 4];
    let zip = length >= 4 && {
        read_at(file, 0, &mut head)?;
        [LOCAL_HEADER, END, SPLIT].contains(&head)
    };
    let incomplete = || if zip { ArchiveError::Truncated } else { ArchiveError::NotAZip };

    let longest = LONGEST_COMMENT + END_BYTES + LOCATOR_64_BYTES;
    let tail_length = usize::try_from(length).unwrap_or(usize::MAX).min(longest);
    let tail_start = length - tail_length as u64;
    let mut tail = vec![0; tail_length];
    read_at(file, tail_start, &mut tail)?;
    // The last one, and no other: a reader that takes an earlier one sees another archive.
    let at = tail.windows(4).rposition(|w| w == END).ok_or_else(incomplete)?;
    let end = tail.get(at..at + END_BYTES).ok_or_else(incomplete)?;
    if at + END_BYTES + usize::from(u16_at(end, 20)) != tail_length {
        return Err(incomplete());
    }

    let mut directory_end = tail_start + at as u64;
    let mut found =
        Directory { entries: u16_at(end, 10).into(), size: u32_at(end, 12).into(), start: u32_at(end, 16).into() };
    let locator =
        at.checked_sub(LOCATOR_64_BYTES).and_then(|from| tail.get(from..at)).filter(|l| l.starts_with(&LOCATOR_64));
    match locator {
        Some(locator) => {
            let locator_at = directory_end - LOCATOR_64_BYTES as u64;
            let record_at = u64_at(locator, 8);
            let wide = find_64(file, record_at, locator_at)?;
            let agree = |narrow: u64, most: u64, wide: u64| narrow == most || narrow == wide;
            let same = agree(found.entries, 0xFFFF, wide.entries)
                && agree(found.size, 0xFFFF_FFFF, wide.size)
                && agree(found.start, 0xFFFF_FFFF, wide.start);
            if !same || u32_at(locator, 16) > 1 {
                return Err(ArchiveError::corrupt("its two end records disagree"));
            }
            directory_end = record_at;
            found = wide;
        }
        // One part of an archive that was split into several.
        None if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) => {
            return Err(ArchiveError::Truncated);
        }
        None => {}
    }
    match found.start.checked_add(found.size) {
        Some(sum) if sum == directory_end => Ok(found),
        Some(sum) if sum < directory_end && !zip => Err(ArchiveError::NotAZip),
        Some(sum) if sum < directory_end => Err(ArchiveError::corrupt("there are bytes that belong to no file")),
        _ => Err(ArchiveError::Truncated),
    }
}

fn find_64(file: &mut File, record_at: u64, locator_at: u64) -> Result<Directory, ArchiveError> {
    let wrong = || ArchiveError::corrupt("its 64-bit end record is wrong");
    if locator_at.checked_sub(record_at).is_none_or(|room| room < END_64_BYTES as u64) {
        return Err(wrong());
    }
    let mut record = [0; END_64_BYTES];
    read_at(file, record_at, &mut record)?;
    // The stored size leaves out the signature and itself.
    let ends = u64_at(&record, 4).checked_add(12).and_then(|size| size.checked_add(record_at));
    let one_disk = u32_at(&record, 16) == 0 && u32_at(&record, 20) == 0 && u64_at(&record, 24) == u64_at(&record, 32);
    if !record.starts_with(&END_64) || ends != Some(locator_at) || !one_disk {
        return Err(wrong());
    }
    Ok(Directory { entries: u64_at(&record, 32), size: u64_at(&record, 40), start: u64_at(&record, 48) })
}

/// Reads all entries, and the beginning of each file; gives back the sum of their declared unpacked sizes.
fn walk(file: &mut File, directory: &Directory) -> Result<u64, ArchiveError> {
    file.seek(SeekFrom::Start(directory.start)).map_err(ArchiveError::Read)?;
    let mut table = BufReader::new(&mut *file).take(directory.size);
    let mut places: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut unpacked = 0u64;
    for _ in 0..directory.entries {
        let entry = bytes(&mut table, ENTRY_BYTES)?;
        if !entry.starts_with(&ENTRY) {
            return Err(ArchiveError::corrupt("its table of contents is wrong"));
        }
        let name = bytes(&mut table, u16_at(&entry, 28).into())?;
        let extra = bytes(&mut table, u16_at(&entry, 30).into())?;
        bytes(&mut table, u16_at(&entry, 32).into())?;
        if u16_at(&entry, 8) & ENCRYPTED != 0 {
            return Err(ArchiveError::Encrypted);
        }
        let [size, _packed, place] = wide(&entry, &extra);
        unpacked = unpacked.saturating_add(size);
        if places.contains_key(&name) {
            return Err(ArchiveError::Duplicate { entry: shown(&String::from_utf8_lossy(&name)) });
        }
        places.insert(name, place);
    }
    if table.limit() > 0 {
        return Err(ArchiveError::corrupt("its table of contents is longer than it says"));
    }
    // A reader that goes from file to file must meet the same names.
    let mut place_of: Vec<(u64, Vec<u8>)> = places.into_iter().map(|(name, place)| (place, name)).collect();
    place_of.sort_unstable();
    for (place, name) in place_of {
        let mut header = [0; LOCAL_BYTES];
        read_at(file, place, &mut header)?;
        let mut there = vec![0; usize::from(u16_at(&header, 26))];
        file.read_exact(&mut there).map_err(cut_or_failed)?;
        if !header.starts_with(&LOCAL_HEADER) || there != name {
            let name = shown(&String::from_utf8_lossy(&name));
            return Err(ArchiveError::corrupt(format!("\"{name}\" in it does not begin where it should")));
        }
        if u16_at(&header, 6) & ENCRYPTED != 0 {
            return Err(ArchiveError::Encrypted);
        }
    }
    Ok(unpacked)
}

/// Unpacked size, packed size and place of an entry. Of what does not fit into 32 bits, the 64-bit extra field has the value, in this order.
fn wide(entry: &[u8], mut extra: &[u8]) -> [u64; 3] {
    let mut values = [u32_at(entry, 24), u32_at(entry, 20), u32_at(entry, 42)].map(u64::from);
    while extra.len() >= 4 {
        let (kind, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(field) = extra.get(4..4 + length) else { break };
        if kind == EXTRA_64 {
            let mut stored = field.chunks_exact(8).map(|chunk| u64_at(chunk, 0));
            for value in values.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
                *value = stored.next().unwrap_or(*value);
            }
            break;
        }
        extra = &extra[4 + length..];
    }
    values
}

/// At most 64 KiB: every length comes from 16 bits.
fn bytes(table: &mut impl Read, length: usize) -> Result<Vec<u8>, ArchiveError> {
    let mut buffer = vec![0; length];
    table.read_exact(&mut buffer).map_err(cut_or_failed)?;
    Ok(buffer)
}

fn read_at(file: &mut File, at: u64, buffer: &mut [u8]) -> Result<(), ArchiveError> {
    // Beyond i64 the system takes the place for an invalid argument.
    if i64::try_from(at).is_err() {
        return Err(ArchiveError::corrupt("its table of contents does not fit its files"));
    }
    file.seek(SeekFrom::Start(at)).map_err(ArchiveError::Read)?;
    file.read_exact(buffer).map_err(cut_or_failed)
}

fn cut_or_failed(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::corrupt("its table of contents does not fit its files"),
        _ => ArchiveError::Read(error),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}
