//! `slipway bench events`, as its reader runs it.

use std::{fs, process::Command};

use tests::{scratch::Scratch, slipway};

#[test]
fn the_server_is_measured_beside_the_disk() {
    let disk = Scratch::new("bench");
    let ran = Command::new(slipway::binary())
        .args(["bench", "events", "--clients", "4", "--seconds", "1", "--commit-ms", "0", "--folder"])
        .arg(disk.path())
        .output()
        .unwrap();
    let [said, told] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(ran.status.success(), "{told}");
    let rows = said.lines().filter_map(|line| line.strip_prefix("| ")).map(|line| line.split(" | ").collect());
    let rows: Vec<Vec<&str>> = rows.filter(|row: &Vec<&str>| row[0].parse::<u32>().is_ok()).collect();
    let measures: Vec<_> = rows.iter().map(|row| (row[0], row[1])).collect();
    let (alone, server) = ("disk alone, one after the other", "commit_ms = 0");
    let wanted = ["1", "10", "100"].into_iter().flat_map(|size| [(size, alone), (size, server)]);
    assert_eq!(measures, wanted.collect::<Vec<_>>(), "{said}");
    for row in &rows {
        let events: u64 = row[2].parse().unwrap();
        // A busy disk may confirm less than one a second.
        assert!(row[0] == "1" || events > 0, "{said}");
    }
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "what was written goes again");
}
