//! Puts into the binary what the pages of the error codes tell people to do: a client says it where no page is at hand.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let variable = |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("no {name}")));
    let pages = variable("CARGO_MANIFEST_DIR")?.join("../docs/errors");
    let mut output = io::stdout();
    writeln!(output, "cargo::rerun-if-changed={}", pages.display())?;
    let mut lines = Vec::new();
    for entry in fs::read_dir(&pages)? {
        let path = entry?.path();
        if let (Some(code), Some("md")) = (name(&path), path.extension().and_then(|ending| ending.to_str()))
            && let Some(advice) = advice(&fs::read_to_string(&path)?)
        {
            lines.push(format!("    ({code:?}, {advice:?}),\n"));
        }
    }
    lines.sort();
    let table = format!("[\n{}]\n", lines.concat());
    fs::write(variable("OUT_DIR")?.join("advice.rs"), table)
}

fn name(page: &Path) -> Option<&str> {
    page.file_stem()?.to_str()
}

/// The first paragraph under "What to do", without links.
fn advice(page: &str) -> Option<String> {
    let (_, below) = page.split_once("## What to do")?;
    let paragraph = below.trim_start().split("\n\n").next()?.replace('\n', " ");
    Some(unlinked(paragraph.trim())).filter(|text| !text.is_empty() && !text.starts_with('#'))
}

/// `[words](address)` becomes `words`.
fn unlinked(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let parts = link.split_once("](").and_then(|(words, tail)| Some((words, tail.split_once(')')?.1)));
        plain.push_str(before);
        match parts {
            Some((words, after)) => {
                plain.push_str(words);
                rest = after;
            }
            None => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain.push_str(rest);
    plain
}
