//! One end of a socket that speaks frames and never blocks: a paused worker must not keep the supervisor from killing in time.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::PollFlags;
use serde::Serialize;

use super::protocol::{Inbox, frame, frame_bytes};

/// A socket with what came and is not read yet, and what is to go and is not sent yet.
pub(super) struct Channel {
    stream: UnixStream,
    inbox: Inbox,
    outbox: Vec<u8>,
    open: bool,
}

impl Channel {
    pub(super) fn new(stream: UnixStream, frame_max: usize) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, inbox: Inbox::new(frame_max), outbox: Vec::new(), open: true })
    }

    /// The other end is still there.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Nothing more comes or goes.
    pub(super) fn close(&mut self) {
        self.open = false;
        // Fails only if the peer is gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    pub(super) fn queue(&mut self, message: &impl Serialize) -> io::Result<()> {
        frame(&mut self.outbox, message)
    }

    pub(super) fn queue_bytes(&mut self, body: &[u8]) -> io::Result<()> {
        frame_bytes(&mut self.outbox, body)
    }

    /// Sends what goes without waiting.
    pub(super) fn send(&mut self) {
        while self.open && !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(0) => self.open = false,
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.open = false,
            }
        }
    }

    /// Sends all of it, waiting as long as the other end lives. Only for when nothing is left to watch.
    pub(super) fn send_all(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(&self.outbox)?;
        self.outbox.clear();
        Ok(())
    }

    /// Waits for one frame. Only for before there is anything to watch.
    pub(super) fn receive_one(&mut self) -> io::Result<Vec<u8>> {
        self.stream.set_nonblocking(false)?;
        while self.open {
            if let Some(body) = self.inbox.next()? {
                self.stream.set_nonblocking(true)?;
                return Ok(body);
            }
            self.fill();
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Takes one read's worth of bytes; says whether any came.
    pub(super) fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.open = false,
            Ok(n) => {
                self.inbox.push(&chunk[..n]);
                return true;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.open = false,
        }
        false
    }

    /// The next whole frame; a frame over the limit closes the channel.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        self.inbox.next().unwrap_or_else(|_| {
            self.close();
            None
        })
    }

    /// What to poll for.
    pub(super) fn interest(&self) -> PollFlags {
        if self.outbox.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
