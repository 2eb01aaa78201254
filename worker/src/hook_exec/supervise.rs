//! The watch over one hook, and its end.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use engine::clock::boottime_nanos;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, getpid, pidfd_open, wait};
use rustix::time::Timespec;

use super::channel::Channel;
use super::protocol::{KillReason, ORDER_MAX, Order, Refusal, SAID_MAX, Spec, Status};
use super::{jail, launch, processes};

/// Longest wait, in nanoseconds, before deadlines are compared again (a wait does not count the time a machine sleeps, CLOCK_BOOTTIME does)
/// and ended daemons are reaped.
const LOOK_AGAIN: i64 = 200_000_000;

/// How a watch ended.
enum End {
    Exited(WaitStatus),
    Killed(KillReason),
}

/// Reads the spec, runs the hook, reports; returns when no descendant is left.
pub(super) fn supervise() -> io::Result<()> {
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    let mut control = Channel::new(UnixStream::from(control), ORDER_MAX)?;
    let spec: Spec = serde_json::from_slice(&control.receive_one()?)?;

    if let Err((why, detail)) = run(&spec, &mut control)? {
        control.queue(&Status::Refused { why, detail })?;
    }
    control.queue(&Status::Clean)?;
    // The worker may be gone, that is no fault: the hook's processes are.
    let _ = control.send_all();
    // After `clean`, since it can take a while; the worker waits for this process's end, too, and clears up if this failed.
    let _ = std::fs::remove_dir_all(&spec.scratch);
    Ok(())
}

/// Starts and watches; a refusal is the inner error.
fn run(spec: &Spec, control: &mut Channel) -> io::Result<Result<(), launch::Refused>> {
    if let Err(e) = jail::shut_in(&spec.limits, spec.tag) {
        return Ok(Err((Refusal::System, format!("the supervisor can't shut itself in: {e}"))));
    }
    let (ours, theirs) = UnixStream::pair()?;
    let mut watch = Watch {
        control,
        hook: Channel::new(ours, SAID_MAX)?,
        payload: Some(spec.payload.as_bytes()),
        said: 0,
        lease_deadline: spec.lease_deadline,
        step_deadline: spec.step_deadline,
        killed_by_order: false,
    };
    watch.hook.queue_bytes(spec.runner.as_bytes())?;
    // The last look before the hook can begin; a second one is made before the runner is given the hook's code.
    watch.take_orders();
    if let Some(why) = watch.due() {
        watch.control.queue(&Status::Killed { why })?;
        return Ok(Ok(()));
    }
    let main = match launch::launch(spec, theirs) {
        Ok(main) => main,
        Err(refused) => return Ok(Err(refused)),
    };
    // Whatever goes wrong in here, the hook must not outlive it.
    let end = watch.until_end(main).unwrap_or(End::Killed(KillReason::Fault));
    watch.finish(main, end)?;
    Ok(Ok(()))
}

struct Watch<'a> {
    control: &'a mut Channel,
    hook: Channel,
    /// Held back until the runner is ready and the deadlines were compared again.
    payload: Option<&'a [u8]>,
    said: usize,
    lease_deadline: i64,
    step_deadline: i64,
    killed_by_order: bool,
}

impl Watch<'_> {
    fn until_end(&mut self, main: Pid) -> io::Result<End> {
        // Without it (before Linux 5.3) the end is seen a fifth of a second later.
        let handle = pidfd_open(main, PidfdFlags::empty()).ok();
        jail::relax()?;
        self.control.queue(&Status::Started { pid: main.as_raw_pid() })?;
        loop {
            if let Some(why) = self.due() {
                return Ok(End::Killed(why));
            }
            if let Some(status) = reap(main)?.found {
                return Ok(End::Exited(status));
            }
            self.control.send();
            self.hook.send();
            self.wait(handle.as_ref())?;
            self.take_orders();
            self.hear(false)?;
        }
    }

    /// Why the hook must end now, if it must.
    fn due(&self) -> Option<KillReason> {
        let now = boottime_nanos();
        if self.killed_by_order {
            Some(KillReason::Ordered)
        } else if !self.control.is_open() {
            Some(KillReason::ControlClosed)
        } else if now >= self.lease_deadline {
            Some(KillReason::LeaseDeadline)
        } else if now >= self.step_deadline {
            Some(KillReason::StepDeadline)
        } else {
            None
        }
    }

    fn wait(&self, handle: Option<&OwnedFd>) -> io::Result<()> {
        let first = self.lease_deadline.min(self.step_deadline).saturating_sub(boottime_nanos());
        let time = Timespec { tv_sec: 0, tv_nsec: first.clamp(0, LOOK_AGAIN) };
        let mut fds = vec![PollFd::new(&*self.control, self.control.interest())];
        if self.hook.is_open() {
            fds.push(PollFd::new(&self.hook, self.hook.interest()));
        }
        if let Some(handle) = handle {
            fds.push(PollFd::new(handle, PollFlags::IN));
        }
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads what the worker sent; a message that is none of ours is as good as a closed pipe.
    fn take_orders(&mut self) {
        self.control.fill();
        while let Some(body) = self.control.next_frame() {
            match serde_json::from_slice(&body) {
                Ok(Order::Lease(until)) => self.lease_deadline = until,
                Ok(Order::Kill) => self.killed_by_order = true,
                Err(_) => self.control.close(),
            }
        }
    }

    /// Passes on what the runner says. `all`: the runner has ended, so what is there is all there will be.
    fn hear(&mut self, all: bool) -> io::Result<()> {
        while self.hook.is_open() {
            let more = self.hook.fill();
            while let Some(body) = self.hook.next_frame() {
                self.relay(body)?;
            }
            if !(all && more) {
                break;
            }
        }
        Ok(())
    }

    fn relay(&mut self, body: Vec<u8>) -> io::Result<()> {
        self.said += body.len();
        if self.said > SAID_MAX {
            self.hook.close();
            return self.control.queue(&Status::SaidTooMuch);
        }
        match self.payload.take() {
            // The first frame says that the runner is there. A lapsed deadline is acted upon by the loop, with nothing handed over.
            Some(payload) if self.due().is_none() => {
                self.hook.queue_bytes(payload)?;
                self.control.queue(&Status::Ready)
            }
            Some(_) => Ok(()),
            None => self.control.queue(&Status::Said { body: String::from_utf8_lossy(&body).into_owned() }),
        }
    }

    /// Ends every descendant and reports.
    fn finish(&mut self, main: Pid, end: End) -> io::Result<()> {
        match end {
            End::Killed(why) => {
                self.control.queue(&Status::Killed { why })?;
                self.control.send();
                end_descendants(main);
            }
            End::Exited(status) => {
                let heard = self.hear(true);
                self.control
                    .queue(&Status::Exited { code: status.exit_status(), signal: status.terminating_signal() })?;
                self.control.send();
                let count = end_descendants(main);
                heard?;
                if count > 0 {
                    self.control.queue(&Status::Leftovers { count })?;
                }
            }
        }
        Ok(())
    }
}

/// What a round of reaping found.
struct Reaped {
    /// The end of the process that was looked for.
    found: Option<WaitStatus>,
    /// There is no child left: no descendant, that is, since every orphan below becomes a child.
    none_left: bool,
}

/// Takes the end of every child that ended.
fn reap(main: Pid) -> io::Result<Reaped> {
    let mut found = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == main => found = Some(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(Reaped { found, none_left: false }),
            Err(Errno::CHILD) => return Ok(Reaped { found, none_left: true }),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Kills until there is nobody left; says how many were met beside the hook's own process.
///
/// Never gives up: a process that the kernel can't end yet (it waits for a disk), or a `/proc` that can't be read just now, is waited for,
/// since as long as anybody is there the hook is not over.
fn end_descendants(main: Pid) -> u32 {
    let me = HashSet::from([getpid().as_raw_pid()]);
    let mut met = HashSet::new();
    let mut pause = 1;
    while !reap(main).is_ok_and(|reaped| reaped.none_left) {
        processes::stop_own_children();
        if let Ok(seen) = processes::stop_and_kill(|| Ok(processes::descendants(&processes::all()?, &me))) {
            met.extend(seen);
        }
        processes::pause(pause);
        pause = (pause * 2).min(100);
    }
    let others = met.iter().filter(|(pid, _)| *pid != main.as_raw_pid()).count();
    u32::try_from(others).unwrap_or(u32::MAX)
}
