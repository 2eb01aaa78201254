//! What is asked of whoever sits at the terminal, or read from standard input.

use std::io::{self, IsTerminal as _, Read as _, Write as _, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// The longest line, in bytes.
const LONGEST: u64 = 4 << 10;

/// A line of a terminal.
pub(super) fn line(what: &str) -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::refused("URL_INVALID", "Name the API's address: slipway login URL.").about(Some("url")));
    }
    ask(what)?;
    first_line()
}

/// A secret: typed unseen, or the first line of standard input.
pub(super) fn secret(what: &str) -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return first_line();
    }
    // First: whoever types ahead is not shown either.
    let unseen = Unseen::begin()?;
    ask(&format!("{what} (it is not shown)"))?;
    let typed = typed();
    drop(unseen);
    let _ = writeln!(stderr());
    typed
}

fn ask(what: &str) -> Result<(), Failure> {
    let mut output = stderr().lock();
    Ok(write!(output, "{what}: ").and_then(|()| output.flush())?)
}

fn first_line() -> Result<String, Failure> {
    let mut text = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(stdin().lock().take(LONGEST)), &mut text)?;
    Ok(text.trim().to_owned())
}

/// What is typed up to the end of the line, key by key.
fn typed() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    for byte in stdin().lock().take(LONGEST).bytes() {
        match byte? {
            b'\r' | b'\n' | 4 => break,
            // Ctrl-C, as a byte: the terminal must be as it was before this ends.
            3 => return Err(Failure::refused("NOT_LOGGED_IN", "Nothing was stored.")),
            8 | 127 => drop(bytes.pop()),
            21 => bytes.clear(),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::refused("NOT_LOGGED_IN", "A key is plain text."))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> Result<Self, Failure> {
        let before = tcgetattr(stdin()).map_err(io::Error::from)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(stdin(), OptionalActions::Flush, &quiet).map_err(io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}
