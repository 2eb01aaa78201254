//! A hook's output as lines: masked, bounded, and read to the end whatever becomes of it, so that a hook never blocks on a full pipe of ours
//! once its share is used up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::HookLimits;
use super::mask::Masks;

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookLine {
    /// Where it came from, and so who may see it.
    pub stream: HookStream,
    /// Masked; without control characters save tabs.
    pub text: String,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A traceback, which may show source: for infrastructure admins alone. The runner's own, and what looks like one on standard error.
    Traceback,
}

/// The share of output of one hook, for both its streams.
pub(super) struct Gate {
    bytes_left: AtomicU64,
    lines_left: AtomicU64,
    flood_left: AtomicU64,
    closed: AtomicBool,
    /// Cancelled when the hard bound is passed.
    pub(super) flooded: CancellationToken,
}

impl Gate {
    pub(super) fn new(limits: &HookLimits) -> Self {
        Self {
            bytes_left: AtomicU64::new(limits.output_bytes),
            lines_left: AtomicU64::new(limits.output_lines),
            flood_left: AtomicU64::new(limits.flood_bytes),
            closed: AtomicBool::new(false),
            flooded: CancellationToken::new(),
        }
    }

    fn count(&self, read: usize) {
        if !take(&self.flood_left, read as u64) {
            self.flooded.cancel();
        }
    }

    fn admit(&self, text: &str) -> bool {
        take(&self.lines_left, 1) && take(&self.bytes_left, text.len() as u64 + 1)
    }
}

/// Takes `amount` if so much is left.
fn take(left: &AtomicU64, amount: u64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount)).is_ok()
}

/// Cuts bytes into lines and keeps of each no more than `room` bytes.
struct Splitter {
    line: Vec<u8>,
    /// Bytes of this line that were not kept.
    dropped: u64,
    room: usize,
}

/// A line's first bytes, and how many more it had.
type RawLine = (Vec<u8>, u64);

impl Splitter {
    fn new(room: usize) -> Self {
        Self { line: Vec::new(), dropped: 0, room }
    }

    /// The lines that end in `bytes`.
    fn push(&mut self, bytes: &[u8]) -> Vec<RawLine> {
        let mut done = Vec::new();
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let keep = text.len().min(self.room - self.line.len());
            self.line.extend_from_slice(&text[..keep]);
            self.dropped += (text.len() - keep) as u64;
            if ended {
                done.push(self.take());
            }
        }
        done
    }

    /// What came after the last line's end.
    fn rest(&mut self) -> Option<RawLine> {
        (!self.line.is_empty() || self.dropped > 0).then(|| self.take())
    }

    fn take(&mut self) -> RawLine {
        let mut line = std::mem::take(&mut self.line);
        let dropped = std::mem::take(&mut self.dropped);
        if dropped == 0 && line.last() == Some(&b'\r') {
            line.pop();
        }
        (line, dropped)
    }
}

/// Knows the lines of a Python traceback when they stand in standard error (a child's, or one that the hook printed).
#[derive(Default)]
struct TracebackFinder {
    inside: bool,
}

impl TracebackFinder {
    fn is_part(&mut self, line: &str) -> bool {
        if line.contains("Traceback (most recent call last):") || line.starts_with("  File \"") {
            self.inside = true;
            return true;
        }
        if !self.inside {
            return false;
        }
        // It ends with the first line that is not indented: the exception.
        self.inside = line.is_empty() || line.starts_with([' ', '\t']);
        true
    }
}

/// Where lines go, and by which rules.
pub(super) struct Sink<'a> {
    pub(super) gate: &'a Gate,
    pub(super) masks: &'a Masks,
    pub(super) lines: mpsc::Sender<HookLine>,
    pub(super) limits: &'a HookLimits,
}

impl Sink<'_> {
    /// Reads `pipe` to its end. A reader of lines that is gone is no reason to stop.
    pub(super) async fn pump(&self, stream: HookStream, mut pipe: impl AsyncRead + Unpin) -> std::io::Result<()> {
        // Read on past the cut, so that a secret across it is seen whole, and the first line of a traceback is known.
        let mut splitter = Splitter::new(self.limits.line_bytes.max(64) + self.masks.longest());
        let mut finder = TracebackFinder::default();
        let mut chunk = vec![0; 16 << 10];
        loop {
            let read = pipe.read(&mut chunk).await?;
            let lines = match read {
                0 => splitter.rest().into_iter().collect(),
                _ if self.gate.closed.load(Ordering::Relaxed) => Vec::new(),
                _ => splitter.push(&chunk[..read]),
            };
            self.gate.count(read);
            for (line, dropped) in lines {
                self.deliver(stream, &line, dropped, &mut finder).await;
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    async fn deliver(&self, stream: HookStream, line: &[u8], dropped: u64, finder: &mut TracebackFinder) {
        if self.gate.closed.load(Ordering::Relaxed) {
            return;
        }
        let keep = self.limits.line_bytes;
        let mut text = self.masks.line(line, keep);
        let cut = dropped + line.len().saturating_sub(keep) as u64;
        if cut > 0 {
            text.push_str(&format!(" [{cut} bytes cut]"));
        }
        let traceback = stream == HookStream::Stderr && finder.is_part(&String::from_utf8_lossy(line));
        let stream = if traceback { HookStream::Traceback } else { stream };
        if self.gate.admit(&text) {
            self.send(stream, text).await;
        } else if !self.gate.closed.swap(true, Ordering::Relaxed) {
            let HookLimits { output_bytes, output_lines, .. } = self.limits;
            let note = format!("[more output is not kept: the limit is {output_bytes} bytes or {output_lines} lines]");
            self.send(HookStream::Stderr, note).await;
        }
    }

    /// A text of the runner's, already masked and bounded.
    pub(super) async fn say(&self, stream: HookStream, text: &str) {
        for line in text.lines() {
            self.send(stream, self.masks.line(line.as_bytes(), self.limits.line_bytes)).await;
        }
    }

    async fn send(&self, stream: HookStream, text: String) {
        if self.lines.send(HookLine { stream, text }).await.is_err() {
            self.gate.closed.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> HookLimits {
        HookLimits { output_bytes: 60, output_lines: 4, line_bytes: 10, flood_bytes: 100, ..HookLimits::default() }
    }

    async fn pumped(stream: HookStream, input: &[u8], secrets: &[&str]) -> (Vec<(HookStream, String)>, bool) {
        let (lines, mut received) = mpsc::channel(100);
        let limits = limits();
        let gate = Gate::new(&limits);
        let masks = Masks::new(secrets.iter().copied());
        Sink { gate: &gate, masks: &masks, lines, limits: &limits }.pump(stream, input).await.unwrap();
        let mut got = Vec::new();
        while let Some(line) = received.recv().await {
            got.push((line.stream, line.text));
        }
        (got, gate.flooded.is_cancelled())
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_many_lines_dropped() {
        let (got, flooded) = pumped(HookStream::Stdout, b"one\r\n0123456789abc\nthree\nfour\nfive\nsix", &[]).await;
        let texts: Vec<&str> = got.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts[..3], ["one", "0123456789 [3 bytes cut]", "three"]);
        assert_eq!(texts[3..], ["four", "[more output is not kept: the limit is 60 bytes or 4 lines]"]);
        assert!(!flooded);
    }

    #[tokio::test]
    async fn too_much_is_a_flood_and_a_secret_across_the_cut_is_masked() {
        let (got, flooded) =
            pumped(HookStream::Stdout, &[b"01234567secretsecret".to_vec(), vec![b'x'; 200]].concat(), &["secret"])
                .await;
        assert!(flooded);
        assert!(got[0].1.starts_with("01234567********"), "{got:?}");
        assert!(!got[0].1.contains("sec"), "{got:?}");
    }

    #[tokio::test]
    async fn printed_tracebacks_are_for_admins() {
        let text = b"Traceback (most recent call last):\n  File\nX: y\nz\n";
        let (got, _) = pumped(HookStream::Stderr, text, &[]).await;
        let streams: Vec<HookStream> = got.iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams[..3], [HookStream::Traceback; 3]);
        assert_eq!(streams[3..], [HookStream::Stderr]);
        let mut finder = TracebackFinder::default();
        let parts: Vec<bool> =
            ["a", "Traceback (most recent call last):", "  File", "X: y", "b"].map(|line| finder.is_part(line)).into();
        assert_eq!(parts, [false, true, true, true, false]);
    }

    #[test]
    fn lines_are_whole_across_any_cut() {
        let text = b"ab\ncd\n\nef";
        for cut in 0..=text.len() {
            let mut splitter = Splitter::new(9);
            let mut got = splitter.push(&text[..cut]);
            got.extend(splitter.push(&text[cut..]));
            got.extend(splitter.rest());
            let got: Vec<&[u8]> = got.iter().map(|(line, _)| line.as_slice()).collect();
            assert_eq!(got, [&b"ab"[..], b"cd", b"", b"ef"], "cut at {cut}");
        }
    }
}
