//! The conversation with one supervisor.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use engine::clock::{boottime_nanos, random_u64};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::call::{HookCall, HookControl};
use super::lines::{Gate, HookLine, HookStream, Sink};
use super::mask::Masks;
use super::orphans::{self, Mark};
use super::outcome::{HookOutcome, HookReport};
use super::said::{self, Said};
use crate::hook_exec::protocol::{Inbox, KillReason, Order, Refusal, STATUS_MAX, Spec, Status, frame};

const RUNNER: &str = include_str!("runner.py");
/// How long a supervisor may take to begin what it should have begun before the worker does it itself.
const GRACE: Duration = Duration::from_secs(5);
/// How long a supervisor may take to clear the scratch directory, and the pipes to drain, once no process is left.
const CLEAR_UP: Duration = Duration::from_secs(10);

/// Runs one hook to its end: returns when no process of it is left and all its lines were sent.
///
/// Lines go to `lines` as they come; a full channel makes the hook wait (until its deadline), a closed one is as good as one that reads.
/// Needs a tokio runtime, with IO and time. Dropping the future ends the hook, too; see the module.
pub async fn run(call: HookCall, control: HookControl, lines: mpsc::Sender<HookLine>) -> HookReport {
    let began = boottime_nanos();
    let (outcome, leftovers) = match control.cancel.is_cancelled() {
        true => (HookOutcome::Cancelled, 0),
        false => drive(&call, control, lines, began).await,
    };
    let took = u64::try_from(boottime_nanos().saturating_sub(began)).unwrap_or(0);
    HookReport { outcome, leftovers, duration: Duration::from_nanos(took) }
}

async fn drive(call: &HookCall, control: HookControl, lines: mpsc::Sender<HookLine>, began: i64) -> (HookOutcome, u32) {
    let masks = Masks::new(call.all_secrets());
    let gate = Gate::new(&call.limits);
    let sink = Sink { gate: &gate, masks: &masks, lines, limits: &call.limits };
    let mark = Mark::new(call.limits.process.file_bytes);
    let nonce = format!("{:016x}{:016x}", random_u64(), random_u64());
    let deadline = i64::try_from(call.limits.deadline.as_nanos()).map_or(i64::MAX, |long| began.saturating_add(long));
    let spec = make_spec(call, &mark, &nonce, *control.lease_deadline.borrow(), deadline);
    let scratch = spec.scratch.clone();

    let (mut child, socket) = match start(call) {
        Ok(started) => started,
        Err(e) => return (HookOutcome::NotStarted { detail: format!("no supervisor: {e}") }, 0),
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return (HookOutcome::NotStarted { detail: "no pipes".to_owned() }, 0);
    };
    let mut talk = Talk::new(&control, &gate, &masks, nonce, deadline);
    let talking = async {
        let clean = talk.until_clean(socket, &spec, &mut child).await;
        put_to_rest(&mut child, clean, &mark, scratch).await;
        clean
    };
    // The pipes end with their last writer, so at the latest with the supervisor. One that was handed to a process outside of the hook's
    // does not: then what was read is all there is.
    let over = Notify::new();
    let talked = async {
        let clean = talking.await;
        over.notify_one();
        clean
    };
    let pumped = async {
        tokio::select! {
            both = async { tokio::join!(sink.pump(HookStream::Stdout, stdout), sink.pump(HookStream::Stderr, stderr)) } => {
                if let Err(e) = both.0.and(both.1) {
                    tracing::warn!(error = %e, "a hook's output could not be read to its end");
                }
            }
            () = async { over.notified().await; sleep(CLEAR_UP).await } => {}
        }
    };
    let (clean, ()) = tokio::join!(talked, pumped);
    for text in std::mem::take(&mut talk.thread_tracebacks) {
        sink.say(HookStream::Traceback, &text).await;
    }
    let leftovers = talk.leftovers;
    let outcome = talk.outcome(clean);
    if let Some(text) = outcome.detail() {
        sink.say(HookStream::Traceback, text).await;
    }
    (outcome, leftovers)
}

fn make_spec(call: &HookCall, mark: &Mark, nonce: &str, lease_deadline: i64, step_deadline: i64) -> Spec {
    let mut limits = call.limits.process;
    limits.file_bytes = mark.file_bytes();
    let mut environment: BTreeMap<String, String> = call.environment.variables();
    environment.extend([mark.variable()]);
    Spec {
        python: call.python.clone(),
        label: call.arguments.deployment_id.replace('\0', ""),
        environment,
        scratch: call.scratch_root.join(format!("hook-{:016x}", random_u64())),
        os_user: call.os_user.clone(),
        limits,
        tag: mark.tag(),
        runner: RUNNER.to_owned(),
        payload: call.payload(nonce),
        lease_deadline,
        step_deadline,
    }
}

/// Starts the supervisor: nothing of the worker's environment, and in a process group of its own, so that a Ctrl-C in a terminal is for the
/// worker alone. What keeps the socket's other end in this process is gone when this returns.
fn start(call: &HookCall) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(&call.supervisor.program)
        .args(&call.supervisor.args)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

/// After the conversation. `clean`: the supervisor said that nobody is left; else it died, or does not answer, and the worker ends the hook.
async fn put_to_rest(child: &mut Child, clean: bool, mark: &Mark, scratch: PathBuf) {
    if !(clean && timeout(CLEAR_UP, child.wait()).await.is_ok()) {
        // It may have ended by itself meanwhile.
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    let mark = mark.clone();
    let ended = tokio::task::spawn_blocking(move || {
        if !clean {
            let count = orphans::end(&mark)?;
            tracing::warn!(hook.orphans = count, "a hook's supervisor died; its processes were ended");
        }
        match std::fs::remove_dir_all(&scratch) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    });
    if let Err(e) = ended.await.map_err(io::Error::other).and_then(|result| result) {
        tracing::error!(error = %e, "a hook's remains could not be cleared away");
    }
}

/// What was asked, heard and learned.
struct Talk<'a> {
    control: &'a HookControl,
    gate: &'a Gate,
    masks: &'a Masks,
    nonce: String,
    step_deadline: i64,
    /// Why the worker wants the hook to end, and since when (CLOCK_BOOTTIME).
    asked: Option<(HookOutcome, i64)>,
    /// The supervisor has begun to end it.
    ending: bool,
    ready: bool,
    refused: Option<(Refusal, String)>,
    killed: Option<KillReason>,
    exited: Option<(Option<i32>, Option<i32>)>,
    answer: Option<HookOutcome>,
    leftovers: u32,
    thread_tracebacks: Vec<String>,
}

impl<'a> Talk<'a> {
    fn new(control: &'a HookControl, gate: &'a Gate, masks: &'a Masks, nonce: String, step_deadline: i64) -> Self {
        Self {
            control,
            gate,
            masks,
            nonce,
            step_deadline,
            asked: None,
            ending: false,
            ready: false,
            refused: None,
            killed: None,
            exited: None,
            answer: None,
            leftovers: 0,
            thread_tracebacks: Vec::new(),
        }
    }

    /// Talks until the supervisor says `clean` (true), or is gone or does not do what it should (false).
    async fn until_clean(&mut self, socket: UnixStream, spec: &Spec, child: &mut Child) -> bool {
        let mut outbox = Vec::new();
        if frame(&mut outbox, spec).is_err() {
            return false;
        }
        let (mut from, mut to) = socket.into_split();
        let mut inbox = Inbox::new(STATUS_MAX);
        let mut chunk = vec![0; 16 << 10];
        let mut lease = self.control.lease_deadline.clone();
        lease.borrow_and_update();
        let mut fed = true;
        let mut look = interval(Duration::from_millis(500));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut order = None;
            tokio::select! {
                read = from.read(&mut chunk) => {
                    let Ok(read @ 1..) = read else { return false };
                    inbox.push(&chunk[..read]);
                    loop {
                        match inbox.next().map(|body| body.map(|body| serde_json::from_slice(&body))) {
                            Ok(None) => break,
                            Ok(Some(Ok(Status::Clean))) => return true,
                            Ok(Some(Ok(status))) => self.hear(status),
                            Ok(Some(Err(_))) | Err(_) => return false,
                        }
                    }
                }
                sent = to.write(&outbox), if !outbox.is_empty() => match sent {
                    Ok(sent) => drop(outbox.drain(..sent)),
                    // The other direction tells that it is gone.
                    Err(_) => outbox.clear(),
                },
                changed = lease.changed(), if fed => {
                    fed = changed.is_ok();
                    order = fed.then(|| Order::Lease(*lease.borrow_and_update()));
                }
                () = self.control.cancel.cancelled(), if self.asked.is_none() => {
                    order = Some(self.ask(HookOutcome::Cancelled));
                }
                () = self.gate.flooded.cancelled(), if self.asked.is_none() => {
                    order = Some(self.ask(HookOutcome::OutputFlood));
                }
                _ = look.tick() => {
                    if self.is_overdue() {
                        tracing::error!("a hook's supervisor does not act; it is killed");
                        let _ = child.start_kill();
                        return false;
                    }
                }
            }
            if let Some(order) = order
                && frame(&mut outbox, &order).is_err()
            {
                return false;
            }
        }
    }

    fn ask(&mut self, why: HookOutcome) -> Order {
        self.asked = Some((why, boottime_nanos()));
        Order::Kill
    }

    fn hear(&mut self, status: Status) {
        match status {
            Status::Refused { why, detail } => self.refused = Some((why, detail)),
            Status::Started { pid } => tracing::debug!(hook.pid = pid, "hook started"),
            Status::Ready => self.ready = true,
            Status::Said { body } => match said::read(&body, &self.nonce, self.masks) {
                Some(Said::Outcome(outcome)) => {
                    self.answer.get_or_insert(outcome);
                }
                Some(Said::ThreadFailed(traceback)) => self.thread_tracebacks.push(traceback),
                None => tracing::debug!("a hook said something that is no answer"),
            },
            Status::SaidTooMuch => {
                let found = "more than a result may hold".to_owned();
                self.answer.get_or_insert(HookOutcome::BadResult { found });
            }
            Status::Exited { code, signal } => {
                self.ending = true;
                self.exited = Some((code, signal));
            }
            Status::Killed { why } => {
                self.ending = true;
                self.killed = Some(why);
            }
            Status::Leftovers { count } => self.leftovers = count,
            Status::Clean => {}
        }
    }

    /// It should have begun to end the hook a good while ago.
    fn is_overdue(&self) -> bool {
        let lease = *self.control.lease_deadline.borrow();
        let due = self.asked.as_ref().map_or(i64::MAX, |(_, since)| *since).min(lease).min(self.step_deadline);
        let grace = i64::try_from(GRACE.as_nanos()).unwrap_or(i64::MAX);
        !self.ending && boottime_nanos() > due.saturating_add(grace)
    }

    fn outcome(self, clean: bool) -> HookOutcome {
        if !clean {
            // Whether it was ended because it was asked to be, or just died, is told by what was due.
            let now = boottime_nanos();
            return match self.asked {
                Some((why, _)) => why,
                None if now >= *self.control.lease_deadline.borrow() => HookOutcome::LeaseDeadline,
                None if now >= self.step_deadline => HookOutcome::DeadlineExceeded,
                None => HookOutcome::SupervisorDied,
            };
        }
        if let Some((why, detail)) = self.refused {
            return match why {
                Refusal::User => HookOutcome::UserUnavailable { detail },
                Refusal::Interpreter => HookOutcome::InterpreterMissing { detail },
                Refusal::System => HookOutcome::NotStarted { detail },
            };
        }
        if let Some(why) = self.killed {
            return match why {
                KillReason::LeaseDeadline => HookOutcome::LeaseDeadline,
                KillReason::StepDeadline => HookOutcome::DeadlineExceeded,
                KillReason::Ordered => self.asked.map_or(HookOutcome::Cancelled, |(why, _)| why),
                // It saw our end close while we hold it, or could not go on: it failed, whatever the reason.
                KillReason::ControlClosed | KillReason::Fault => HookOutcome::SupervisorDied,
            };
        }
        match (self.answer, self.exited) {
            (Some(answer), _) => answer,
            (None, Some((Some(code), _))) if !self.ready => {
                HookOutcome::InterpreterFailed { detail: format!("exit code {code}; its words are in the log") }
            }
            (None, Some((Some(code), _))) => HookOutcome::Exited { code },
            (None, Some((None, signal))) => HookOutcome::KilledBySignal { signal: signal.unwrap_or(0) },
            (None, None) => HookOutcome::SupervisorDied,
        }
    }
}
