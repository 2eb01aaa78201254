//! How long the runs of a killed or paused worker stood still, and which writes came too late.

use std::collections::BTreeMap;

use entities::worker;
use serde_json::Value;

use super::{
    faults::Log,
    seen::{Run, Seen},
};

/// A run that stood still because its worker was gone.
#[derive(Clone, Debug)]
pub(super) struct Stood {
    pub(super) run: i64,
    pub(super) worker: String,
    /// Microseconds until somebody wrote to it again.
    pub(super) us: i64,
    /// PostgreSQL was away in that time.
    pub(super) outage: bool,
}

/// Runs that were held by workers which were killed.
pub(super) fn after_kills(seen: &Seen, log: &Log) -> Vec<Stood> {
    let stood = |(name, at): &(String, i64)| after(seen, log, name, *at);
    log.kills.iter().flat_map(stood).collect()
}

/// Runs that were held by workers which stood still.
pub(super) fn after_pauses(seen: &Seen, log: &Log) -> Vec<Stood> {
    let stood = |(name, from, _): &(String, i64, i64)| after(seen, log, name, *from);
    log.pauses.iter().flat_map(stood).collect()
}

fn after(seen: &Seen, log: &Log, name: &str, at: i64) -> Vec<Stood> {
    let Some(worker) = life(&seen.workers, name, at) else { return Vec::new() };
    let stood = |run: &Run| {
        let next = progress(run, worker, at)?;
        let outage = log.outages.iter().any(|(from, until)| *from <= next && at <= *until);
        Some(Stood { run: run.row.id, worker: name.to_owned(), us: next - at, outage })
    };
    seen.runs.values().filter_map(stood).collect()
}

/// The life of this process at that moment.
fn life(workers: &[worker::Model], name: &str, at: i64) -> Option<i64> {
    let lives = workers.iter().filter(|worker| worker.name == name && worker.started_at <= at);
    let last = lives.max_by_key(|worker| worker.started_at)?;
    // It had been ended before, and was about to register anew: it held nothing.
    last.ended_at.is_none_or(|ended| ended > at).then_some(last.id)
}

/// When the run went on, if this worker held it at that moment.
fn progress(run: &Run, worker: i64, at: i64) -> Option<i64> {
    let mut holder = None;
    let mut epoch = 0;
    for event in run.events.iter().filter(|event| event.at <= at) {
        epoch = event.epoch;
        match event.kind.as_str() {
            "Claimed" => {
                let data: Value = serde_json::from_str(&event.data).ok()?;
                holder = data["worker"].as_i64();
            }
            "Parked" | "StepYielded" | "LeaseReleased" | "Stuck" | "Finished" => holder = None,
            _ => {}
        }
    }
    if holder != Some(worker) {
        return None;
    }
    run.events.iter().find(|event| event.at > at && event.epoch > epoch).map(|event| event.at)
}

/// Journal writes that arrived after their worker's lease.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Late {
    pub(super) delivered: u64,
    pub(super) refused: u64,
}

/// Reads the writes out of what was said to PostgreSQL late, and looks for them in the journals.
pub(super) fn late_writes(seen: &Seen, log: &Log) -> Late {
    let mut late = Late::default();
    for (from, bytes) in &log.late {
        for write in writes(bytes) {
            late.delivered += 1;
            let accepted = seen.runs.get(&write.run).is_some_and(|run| {
                let mut events = run.events.iter();
                events.any(|event| (event.seq, event.epoch) == (write.seq, write.epoch) && event.at >= *from)
            });
            late.refused += u64::from(!accepted);
        }
    }
    late
}

/// The first event of a write.
#[derive(Debug, PartialEq, Eq)]
struct Write {
    run: i64,
    epoch: i64,
    seq: i64,
}

/// A batch of writes is one JSON document among the protocol's bytes.
fn writes(bytes: &[u8]) -> Vec<Write> {
    const BEGIN: &[u8] = b"[{\"run\":";
    let begins = bytes.windows(BEGIN.len()).enumerate().filter(|(_, window)| *window == BEGIN);
    let batches = begins.filter_map(|(at, _)| {
        let documents =
            serde_json::Deserializer::from_slice(bytes.get(at..)?).into_iter::<Vec<BTreeMap<String, Value>>>();
        documents.into_iter().next()?.ok()
    });
    let write = |op: BTreeMap<String, Value>| {
        let number = |name: &str| op.get(name).and_then(Value::as_i64);
        let claims = op.get("claim").and_then(Value::as_bool)?;
        op.get("events")?;
        Some(Write { run: number("run")?, epoch: number("epoch")? + i64::from(claims), seq: number("seq")? + 1 })
    };
    batches.flatten().filter_map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_read_out_of_the_protocol() {
        let document = r#"[{"run":7,"claim":false,"worker":null,"epoch":2,"seq":5,"n":1,"events":[{"kind":"StepStarted"}]},
            {"run":8,"claim":true,"worker":1,"epoch":1,"seq":3,"n":2,"events":[]}]"#;
        let bytes = [b"B\0\0\x01".as_slice(), document.as_bytes(), b"\0\x01E\0\0[{\"run\":9,\"claim\":tru"].concat();
        let wanted = [Write { run: 7, epoch: 2, seq: 6 }, Write { run: 8, epoch: 2, seq: 4 }];
        assert_eq!(writes(&bytes), wanted);
    }
}
