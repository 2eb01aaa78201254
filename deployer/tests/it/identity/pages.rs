//! Every code that this crate refuses with has a page.

use std::{collections::BTreeSet, fs, path::Path};

/// What stands before a code in the sources.
const BEFORE: [&str; 4] = ["Error::field(", "Error::refused(", "problems.add(", "code: "];

fn codes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for before in BEFORE {
            for rest in text.split(before).skip(1) {
                let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                found.extend(
                    literal.filter(|code| code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).map(str::to_owned),
                );
            }
        }
    }
}

#[test]
fn every_code_has_its_page() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    codes(&here.join("src"), &mut found);
    assert!(found.len() > 25, "{found:?}");
    let page = |code: &String| fs::read_to_string(here.join(format!("../docs/errors/{code}.md"))).unwrap_or_default();
    let missing: Vec<_> = found.iter().filter(|code| !page(code).starts_with(&format!("# {code}\n"))).collect();
    assert!(missing.is_empty(), "docs/errors lacks {missing:?}");
}
