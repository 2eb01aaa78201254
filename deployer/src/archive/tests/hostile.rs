//! Archives that mean harm, or were harmed.

use super::*;

#[test]
fn what_is_no_zip_is_said_to_be_none() {
    for bytes in [&b""[..], b"PK", b"hello, world: no archive at all", b"\x1f\x8b\x08\x00gzip", &[0; 100_000]] {
        assert_eq!(refused(bytes), "BUNDLE_NOT_A_ZIP");
    }
    let prefixed = [b"#!/bin/sh\n", &small()[..]].concat();
    assert_eq!(refused(&prefixed), "BUNDLE_NOT_A_ZIP");
}

#[test]
fn cut_off_anywhere_it_is_truncated() {
    let archive = small();
    assert_eq!(refused(&archive), "accepted");
    for length in 4..archive.len() {
        assert_eq!(refused(&archive[..length]), "BUNDLE_TRUNCATED", "first {length} of {} bytes", archive.len());
    }
    // An archive within the archive, not compressed: its end is not the end.
    let nested = stored(&[("inner.zip", &archive), ("more.bin", &[7; 100])]);
    for length in 4..nested.len() {
        // Cut right behind the inner archive it is that one, with bytes before it.
        let code = if nested[..length].ends_with(&archive) { "BUNDLE_CORRUPT" } else { "BUNDLE_TRUNCATED" };
        assert_eq!(refused(&nested[..length]), code, "first {length} of {} bytes", nested.len());
    }
    assert_eq!(refused(&[&archive[..], b"\n"].concat()), "BUNDLE_TRUNCATED");
}

#[test]
fn bytes_missing_in_the_middle_are_noticed() {
    let archive = small();
    for at in 4..archive.len() - 22 {
        let cut = [&archive[..at], &archive[at + 1..]].concat();
        assert_eq!(refused(&cut), "BUNDLE_TRUNCATED", "without byte {at}");
    }
    let directory = records(&archive, b"PK\x01\x02")[0];
    let stuffed = [&archive[..directory], b"stuffed", &archive[directory..]].concat();
    assert_eq!(refused(&stuffed), "BUNDLE_CORRUPT");
}

#[test]
fn no_changed_byte_brings_the_reader_down() {
    let archive = small();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut accepted = 0;
    for at in 0..archive.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut changed = archive.clone();
            changed[at] ^= change;
            fs::write(file.path(), &changed).unwrap();
            // A changed time or attribute does no harm; whatever is accepted still says the same.
            if let Ok(read) = bundle(file.path(), "upload.zip", Limits::default()) {
                assert_eq!((read.bundle_id.as_str(), read.project_key.as_str()), ("v1", "CHURN"), "byte {at}");
                accepted += 1;
            }
        }
    }
    assert!(accepted < archive.len() * 3);
}

#[test]
fn an_encrypted_entry_is_refused() {
    for bit in [0, 6, 13] {
        let mut archive = small();
        let second = records(&archive, b"PK\x01\x02")[1];
        archive[second + 8 + bit / 8] |= 1 << (bit % 8);
        assert_eq!(refused(&archive), "BUNDLE_ENCRYPTED", "bit {bit}");
    }
}

#[test]
fn two_files_of_one_name_are_refused() {
    let mut archive = zip_of(&[("bundle-manifest.json", b"{}"), ("bundle-manifest.jsoX", b"{}")]);
    patch(&mut archive, b"bundle-manifest.jsoX", b"bundle-manifest.json");
    let error = read(&archive).err().unwrap();
    assert_eq!(error.code(), "BUNDLE_DUPLICATE_ENTRY");
    assert!(error.to_string().contains("\"bundle-manifest.json\""), "{error}");
}

#[test]
fn more_entries_than_allowed_are_refused_before_they_are_read() {
    let limits = Limits { entries: 1, ..Limits::default() };
    assert_eq!(read_named(&small(), "v1.zip", limits).err().unwrap().code(), "BUNDLE_TOO_MANY_ENTRIES");
    let limits = Limits { directory: 50, ..Limits::default() };
    assert_eq!(read_named(&small(), "v1.zip", limits).err().unwrap().code(), "BUNDLE_TOO_MANY_ENTRIES");
}

#[test]
fn a_count_that_lies_is_refused() {
    for count in [0u16, 1, 3, 0xFFFE, 0xFFFF] {
        let mut archive = small();
        let end = records(&archive, b"PK\x05\x06")[0];
        archive[end + 8..end + 10].copy_from_slice(&count.to_le_bytes());
        archive[end + 10..end + 12].copy_from_slice(&count.to_le_bytes());
        assert_eq!(refused(&archive), "BUNDLE_CORRUPT", "{count}");
    }
    let mut part = small();
    let end = records(&part, b"PK\x05\x06")[0];
    part[end + 4] = 1;
    assert_eq!(refused(&part), "BUNDLE_TRUNCATED");
}

#[test]
fn a_bomb_is_refused_unread() {
    let zeros = vec![0; 4 << 20];
    let bomb = zip_of(&[("bundle-manifest.json", br#"{"bundleId": "v1", "projectKey": "P"}"#), ("zeros", &zeros)]);
    let error = read_named(&bomb, "v1.zip", Limits { ratio_from: 1 << 20, ..Limits::default() }).err().unwrap();
    assert!(matches!(error, ArchiveError::RatioTooHigh { limit: 200 }), "{error}");
    assert_eq!(error.code(), "BUNDLE_TOO_LARGE");
    let error = read_named(&bomb, "v1.zip", Limits { unpacked: 4 << 20, ..Limits::default() }).err().unwrap();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    assert_eq!(error.code(), "BUNDLE_TOO_LARGE");
    assert_eq!(refused(&bomb), "accepted");
}

/// Sets the unpacked size that both headers of the first entry declare.
fn declare(archive: &mut [u8], size: u32) {
    let (local, entry) = (records(archive, b"PK\x03\x04")[0], records(archive, b"PK\x01\x02")[0]);
    archive[local + 22..local + 26].copy_from_slice(&size.to_le_bytes());
    archive[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
}

#[test]
fn a_declared_size_that_lies_is_refused() {
    let mut archive = small();
    declare(&mut archive, 5);
    assert_eq!(refused(&archive), "BUNDLE_CORRUPT");
    declare(&mut archive, 10_000);
    assert_eq!(refused(&archive), "BUNDLE_CORRUPT");

    let long = format!(r#"{{"bundleId": "v1", "projectKey": "P"}}{}"#, " ".repeat(17 << 20));
    let mut archive = with_manifest(&long);
    assert_eq!(refused(&archive), "BUNDLE_MANIFEST_TOO_LARGE");
    declare(&mut archive, 1000);
    assert!(["BUNDLE_CORRUPT", "BUNDLE_MANIFEST_TOO_LARGE"].contains(&refused(&archive)));
}

#[test]
fn a_manifest_of_too_many_values_or_levels_is_refused() {
    let many = format!(r#"{{"bundleId": "v1", "projectKey": "P", "x": [{}[]]}}"#, "[],".repeat(600_000));
    assert_eq!(refused(&with_manifest(&many)), "BUNDLE_MANIFEST_TOO_LARGE");
    let deep =
        format!(r#"{{"bundleId": "v1", "projectKey": "P", "x": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(refused(&with_manifest(&deep)), "BUNDLE_MANIFEST_INVALID");
    let invalid = [br#"{"bundleId": "v"#, &[0xFF][..], br#"", "projectKey": "P"}"#].concat();
    assert_eq!(refused(&zip_of(&[("bundle-manifest.json", &invalid)])), "BUNDLE_MANIFEST_INVALID");
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut archive = small();
    let second = records(&archive, b"PK\x01\x02")[1];
    archive[second + 42..second + 46].copy_from_slice(&0u32.to_le_bytes());
    assert_eq!(refused(&archive), "BUNDLE_CORRUPT");

    // The first file's content reaches into the second.
    let mut archive =
        stored(&[("bundle-manifest.json", br#"{"bundleId": "v1", "projectKey": "P"}"#), ("more.bin", &[7; 100])]);
    let entry = records(&archive, b"PK\x01\x02")[0];
    archive[entry + 20] += 40;
    archive[entry + 24] += 40;
    assert_eq!(refused(&archive), "BUNDLE_OVERLAPPING_ENTRIES");
}

#[test]
fn names_are_labels() {
    let manifest = br#"{"bundleId": "v1", "projectKey": "P"}"#;
    let names = ["../../etc/passwd", "/etc/passwd", "C:\\x", "a//b", "con", "./bundle-manifest.json"];
    let mut files: Vec<(&str, &[u8])> = names.iter().map(|n| (*n, &b"x"[..])).collect();
    files.push(("bundle-manifest.json", manifest));
    assert_eq!(refused(&zip_of(&files)), "accepted");

    // Another name at the file itself than in the table of contents.
    let mut archive = small();
    let local = records(&archive, b"PK\x03\x04")[1];
    archive[local + 30] = b'X';
    assert_eq!(refused(&archive), "BUNDLE_CORRUPT");

    // Neither UTF-8 nor said to be; and with a NUL.
    for byte in [0xFF, 0x00] {
        let mut archive = zip_of(&[("bundle-manifest.json", manifest), ("AAAA.json", b"{}")]);
        patch(&mut archive, b"AAAA.json", &[b'A', byte, b'A', b'A', b'.', b'j', b's', b'o', b'n']);
        assert_eq!(refused(&archive), "accepted");
        let mut archive = zip_of(&[("settings.json", br#"{"projectKey": "P"}"#), ("AAAA.json", b"{}")]);
        patch(&mut archive, b"AAAA.json", &[b'A', byte, b'A', b'A', b'.', b'j', b's', b'o', b'n']);
        assert_eq!(refused(&archive), "accepted");
    }
}

#[test]
fn a_method_that_we_do_not_have_is_named() {
    let mut archive = small();
    let (local, entry) = (records(&archive, b"PK\x03\x04")[0], records(&archive, b"PK\x01\x02")[0]);
    archive[local + 8] = 93;
    archive[entry + 10] = 93;
    let error = read(&archive).err().unwrap();
    assert_eq!(error.code(), "BUNDLE_COMPRESSION_UNSUPPORTED");
    assert!(error.to_string().contains("bundle-manifest.json"), "{error}");
}

/// The same archive with a 64-bit end record before its end.
fn with_end_64(archive: &[u8], entries: u64) -> Vec<u8> {
    let at = records(archive, b"PK\x05\x06")[0];
    let (body, end) = archive.split_at(at);
    let number = |from: usize| u64::from(u32::from_le_bytes(end[from..from + 4].try_into().unwrap()));
    let mut wide = body.to_vec();
    wide.extend(b"PK\x06\x06");
    wide.extend(44u64.to_le_bytes());
    wide.extend([45, 0, 45, 0]);
    wide.extend([0; 8]);
    for value in [entries, entries, number(12), number(16)] {
        wide.extend(value.to_le_bytes());
    }
    wide.extend(b"PK\x06\x07\0\0\0\0");
    wide.extend((at as u64).to_le_bytes());
    wide.extend(1u32.to_le_bytes());
    wide.extend(b"PK\x05\x06\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0");
    wide
}

#[test]
fn a_64_bit_archive_is_read_and_held_to_the_same_rules() {
    let wide = with_end_64(&small(), 2);
    assert_eq!(refused(&wide), "accepted");
    assert_eq!(refused(&with_end_64(&small(), 1)), "BUNDLE_CORRUPT");
    assert_eq!(refused(&with_end_64(&small(), 3)), "BUNDLE_CORRUPT");
    assert_eq!(refused(&with_end_64(&small(), u64::MAX)), "BUNDLE_TOO_MANY_ENTRIES");

    let record = records(&wide, b"PK\x06\x06")[0];
    for (at, value) in [(4, u64::MAX), (40, u64::MAX), (48, u64::MAX)] {
        let mut changed = wide.clone();
        changed[record + at..record + at + 8].copy_from_slice(&value.to_le_bytes());
        assert_ne!(refused(&changed), "accepted", "field at {at}");
    }
    let mut disagrees = wide.clone();
    let end = records(&wide, b"PK\x05\x06")[0];
    disagrees[end + 10..end + 12].copy_from_slice(&7u16.to_le_bytes());
    assert_eq!(refused(&disagrees), "BUNDLE_CORRUPT");

    // An entry whose size is in its 64-bit extra field.
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bundle-manifest.json", SimpleFileOptions::default().large_file(true)).unwrap();
    zip.write_all(br#"{"bundleId": "v1", "projectKey": "P"}"#).unwrap();
    assert_eq!(refused(&zip.finish().unwrap().into_inner()), "accepted");
}

#[test]
fn a_size_in_the_64_bit_extra_field_counts() {
    let mut archive = small();
    let (second, end) = (records(&archive, b"PK\x01\x02")[1], records(&archive, b"PK\x05\x06")[0]);
    let name = usize::from(archive[second + 28]);
    assert_eq!(archive[second + 30..second + 34], [0; 4]);
    archive[second + 24..second + 28].copy_from_slice(&[0xFF; 4]);
    archive[second + 30] = 12;
    let size = u32::from_le_bytes(archive[end + 12..end + 16].try_into().unwrap()) + 12;
    archive[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    let extra = [&[1, 0, 8, 0][..], &(1u64 << 50).to_le_bytes()].concat();
    let at = second + 46 + name;
    let archive = [&archive[..at], &extra, &archive[at..]].concat();
    let error = read(&archive).err().unwrap();
    assert!(matches!(error, ArchiveError::TooLarge { unpacked, .. } if unpacked >= 1 << 50), "{error}");
}

#[test]
fn a_comment_is_fine_unless_it_pretends_to_be_the_end() {
    let make = |comment: &[u8]| {
        let mut archive = small();
        let at = archive.len() - 2;
        archive[at..].copy_from_slice(&(comment.len() as u16).to_le_bytes());
        archive.extend(comment);
        archive
    };
    assert_eq!(refused(&make(b"made for a test")), "accepted");
    assert_eq!(refused(&make(&[b'x'; 0xFFFF])), "accepted");
    let pretended = make(&[b"PK\x05\x06", &[0; 18][..]].concat());
    assert_ne!(refused(&pretended), "accepted");
}

#[test]
fn names_that_go_into_messages_are_short_lines() {
    let with = |connection: &str| {
        let manifest = format!(r#"{{"bundleId": "v1", "projectKey": "CHURN", "connections": [{connection}]}}"#);
        read(&with_manifest(&manifest))
    };
    let long = "x".repeat(101);
    for bad in [
        r#"{"name": "a\nb"}"#.to_owned(),
        r#"{"name": "a\u202eb"}"#.to_owned(),
        format!(r#"{{"name": "{long}"}}"#),
        r#"{"name": "a", "type": "b\u0000"}"#.to_owned(),
    ] {
        let error = with(&bad).err().unwrap();
        assert_eq!(error.code(), "BUNDLE_MANIFEST_INVALID", "{bad}");
        assert!(error.to_string().contains("connections[0]."), "{error}");
    }
    // Who uses a connection is for people alone: it is cut instead.
    let read = with(&format!(r#"{{"name": "a", "usedBy": ["b\nc", "{long}"]}}"#)).unwrap();
    let used = &read.for_target().connections[0].used_by;
    assert!(used[0] == "b\u{fffd}c" && used[1].chars().count() == 101 && used[1].ends_with('…'));
    let many = vec![r#"{"name": "a"}"#; 10_001].join(",");
    assert_eq!(with(&many).err().unwrap().code(), "BUNDLE_MANIFEST_INVALID");
}
