//! The account under which a hook runs.

use std::fs;

use rustix::thread::CapabilitySet;

/// A user and its primary group. Hooks get no supplementary groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OsUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What it takes to start a process as another user, to kill it, and to clear away what it wrote. Root has them, unless a container took some.
const NEEDED: [(CapabilitySet, &str); 5] = [
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::KILL, "CAP_KILL"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
];

/// The account to switch to, `None` if this process has it already.
///
/// # Errors
/// A sentence for operators: no such user, or no right to become it.
pub(super) fn resolve(name: &str) -> Result<Option<OsUser>, String> {
    let accounts = fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd can't be read: {e}"))?;
    let user = find(&accounts, name).ok_or_else(|| format!("this machine has no OS user {name:?}"))?;
    let now = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if now == (user.uid, user.gid) {
        return Ok(None);
    }
    let have =
        rustix::thread::capabilities(None).map_err(|e| format!("own capabilities can't be read: {e}"))?.effective;
    let missing: Vec<&str> = NEEDED.iter().filter(|(c, _)| !have.contains(*c)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        Ok(Some(user))
    } else {
        Err(format!("to run hooks as OS user {name:?} the worker must be root or have {} too", missing.join(", ")))
    }
}

/// A line of `/etc/passwd` (name:password:uid:gid:…), or `uid:gid` in numbers for accounts that some other directory keeps.
fn find(accounts: &str, name: &str) -> Option<OsUser> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n != u32::MAX);
    if let Some((uid, gid)) = name.split_once(':') {
        return Some(OsUser { uid: number(uid)?, gid: number(gid)? });
    }
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name) && !name.is_empty())?;
    let mut fields = line.split(':').skip(2);
    Some(OsUser { uid: number(fields.next()?)?, gid: number(fields.next()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_exact_name_or_by_numbers() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\nbroken:x:no\n";
        assert_eq!(find(accounts, "nobody"), Some(OsUser { uid: 65534, gid: 65533 }));
        assert_eq!(find(accounts, "1000:100"), Some(OsUser { uid: 1000, gid: 100 }));
        for wrong in ["", "nob", "broken", "1000:", "-1:0", "4294967295:0"] {
            assert_eq!(find(accounts, wrong), None, "{wrong:?}");
        }
    }
}
