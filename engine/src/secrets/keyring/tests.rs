use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

const ROW: &str = "infrastructure/42/admin_key";

fn code<T>(result: Result<T, SecretsError>) -> String {
    result.err().unwrap().code().as_str().to_owned()
}

#[test]
fn what_is_sealed_opens_in_its_place_alone() {
    let ring = Keyring::generate();
    let sealed = ring.seal("clé secrète", ROW).unwrap();
    assert!(sealed.starts_with(&format!("v1.{}.", ring.active())));
    assert!(!sealed.contains("secr"));
    assert_eq!(ring.open(&sealed, ROW).unwrap().expose(), "clé secrète");
    assert_eq!(code(ring.open(&sealed, "infrastructure/43/admin_key")), "SECRET_CORRUPT");
    assert_eq!(ring.open(&ring.seal("", ROW).unwrap(), ROW).unwrap().expose(), "");
}

#[test]
fn sealing_twice_gives_two_texts() {
    let ring = Keyring::generate();
    assert_ne!(ring.seal("same", ROW).unwrap(), ring.seal("same", ROW).unwrap());
}

#[test]
fn any_changed_byte_is_noticed() {
    let ring = Keyring::generate();
    let sealed = ring.seal("secret", ROW).unwrap();
    let (head, body) = sealed.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(body).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(&changed));
        assert_eq!(code(ring.open(&text, ROW)), "SECRET_CORRUPT", "byte {at}");
    }
    for keep in 0..bytes.len() {
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(&bytes[..keep]));
        assert_eq!(code(ring.open(&text, ROW)), "SECRET_CORRUPT", "first {keep} bytes");
    }
}

#[test]
fn what_is_no_sealed_text_is_corrupt() {
    let ring = Keyring::generate();
    for text in ["", "v1", "v1.", "v1..", "v1.a", "v2.a.AAAA", "plain text", "v1.A B.AAAA"] {
        assert_eq!(code(ring.open(text, ROW)), "SECRET_CORRUPT", "{text}");
        assert!(ring.needs_rotation(text));
    }
    let text = format!("v1.{}.***", ring.active());
    assert_eq!(code(ring.open(&text, ROW)), "SECRET_CORRUPT");
}

#[test]
fn rotation_seals_with_the_new_key_and_opens_with_both() {
    let old = Keyring::generate();
    let sealed = old.seal("secret", ROW).unwrap();
    assert!(!old.needs_rotation(&sealed));

    let both = Keyring::parse(&old.with_new_active().to_text()).unwrap();
    assert_ne!(both.active(), old.active());
    assert!(both.needs_rotation(&sealed));
    let plain = both.open(&sealed, ROW).unwrap();
    let again = both.seal(plain.expose(), ROW).unwrap();
    assert!(!both.needs_rotation(&again));
    assert_eq!(both.open(&again, ROW).unwrap().expose(), "secret");

    let error = old.open(&again, ROW).err().unwrap();
    assert_eq!(error.code().as_str(), "SECRET_KEY_UNKNOWN");
    assert!(error.to_string().contains(both.active().as_str()));
}

#[test]
fn a_key_file_is_read_in_order_with_comments_and_commas() {
    let key = STANDARD.encode([7; 32]);
    let ring = Keyring::parse(&format!("# keys\n\n new : {key} \r\nold:{key}\n")).unwrap();
    assert_eq!(ring.active().as_str(), "new");
    assert_eq!(ring.to_text().as_str(), format!("new:{key}\nold:{key}\n"));
    assert_eq!(Keyring::parse(&format!("a:{key},b:{key}")).unwrap().active().as_str(), "a");
}

#[test]
fn malformed_key_files_name_the_line_and_no_key() {
    let key = STANDARD.encode([7; 32]);
    let short = STANDARD.encode([7; 31]);
    let cases = [
        (String::new(), 1),
        ("# only words\n".to_owned(), 1),
        (format!("a:{key}\n{key}"), 2),
        (format!("A:{key}"), 1),
        (format!("a.b:{key}"), 1),
        (format!(":{key}"), 1),
        (format!("a:{short}"), 1),
        (format!("a:{key}\n\na:{key}"), 3),
        ("a:not base64".to_owned(), 1),
    ];
    for (text, at) in cases {
        let error = Keyring::parse(&text).err().unwrap();
        assert!(matches!(error, SecretsError::Malformed { line, .. } if line == at), "{text}: {error}");
        assert_eq!(error.code().as_str(), "MASTER_KEY_MALFORMED");
        assert!(!error.to_string().contains(&key[..20]), "{error}");
    }
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let made = Keyring::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Keyring::load(&path).unwrap().active(), made.active());
    assert_eq!(code(Keyring::create(&path)), "MASTER_KEY_UNREADABLE");

    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Keyring::load(&path).err().unwrap();
        assert_eq!(error.code().as_str(), "MASTER_KEY_UNREADABLE");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    assert_eq!(code(Keyring::load(&folder.path().join("absent"))), "MASTER_KEY_UNREADABLE");
    assert_eq!(code(Keyring::load(folder.path())), "MASTER_KEY_UNREADABLE");
}

#[test]
fn debug_shows_no_key() {
    let ring = Keyring::generate();
    let shown = format!("{ring:?}");
    let text = ring.to_text();
    let key = text.trim().split_once(':').unwrap().1;
    assert!(shown.contains(ring.active().as_str()) && !shown.contains(key), "{shown}");
}
