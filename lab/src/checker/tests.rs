//! For each rule a history that keeps it and one that breaks it.

use super::{Rule, check};
use crate::history::{Event, Facts, Record, Step};

const RUN: i64 = 42;

/// A history of one run that succeeded, to be spoilt.
struct Story {
    records: Vec<Record>,
    seq: i64,
    epoch: i64,
    at: i64,
}

impl Story {
    fn new() -> Self {
        Self { records: Vec::new(), seq: 0, epoch: 0, at: 0 }.limit(1).accepted(RUN, "shop", 1)
    }

    fn push(mut self, record: Record) -> Self {
        self.records.push(record);
        self
    }

    fn limit(mut self, limit: i64) -> Self {
        self.at += 10;
        let at = self.at;
        self.push(Record::Limit { pool: "hooks".to_owned(), at, limit })
    }

    fn accepted(mut self, run: i64, deployment: &str, number: i64) -> Self {
        let wait_ms = |name: &str| name.contains("hooks").then_some(1);
        let step = |name: &str, once, after_failure| Step {
            name: name.to_owned(),
            once,
            after_failure,
            wait_ms: wait_ms(name),
        };
        let steps = vec![
            step("push", false, false),
            step("post_hooks/1", true, false),
            step("restore", false, true),
            step("pre_hooks/1", false, false),
        ];
        (self.seq, self.epoch, self.at) = (0, 0, self.at + 10);
        let (deployment, at) = (deployment.to_owned(), self.at);
        self.push(Record::Accepted { run, deployment, number, at, steps, retry_of: None }).event_of(
            run,
            "Requested",
            None,
            Facts::default(),
        )
    }

    fn event_of(mut self, run: i64, kind: &str, step: Option<i64>, facts: Facts) -> Self {
        self.seq += 1;
        self.at += 10;
        let (seq, at, epoch) = (self.seq, self.at, self.epoch);
        let (kind, attempt) = (kind.to_owned(), step.map(|_| 1));
        self.push(Record::Event(Event { run, seq, at, epoch, kind, step, attempt, facts }))
    }

    fn event(self, kind: &str) -> Self {
        self.event_of(RUN, kind, None, Facts::default())
    }

    fn step(self, kind: &str, step: i64) -> Self {
        self.event_of(RUN, kind, Some(step), Facts::default())
    }

    fn failed(self, kind: &str, step: i64, code: &str) -> Self {
        let step = (kind == "StepFailed").then_some(step);
        self.event_of(RUN, kind, step, Facts { code: Some(code.to_owned()), ..Facts::default() })
    }

    fn claimed_by(mut self, worker: i64, lost: bool) -> Self {
        self.epoch += 1;
        self.event_of(RUN, "Claimed", None, Facts { worker: Some(worker), lost, ..Facts::default() })
    }

    fn done(self, step: i64) -> Self {
        self.step("StepStarted", step).step("StepSucceeded", step)
    }

    fn hook(mut self, step: i64, long: i64) -> Self {
        self.at += 10;
        let (from, until) = (self.at, Some(self.at + long));
        self.push(Record::Hook { run: RUN, step, attempt: 1, pool: "hooks".to_owned(), from, until })
    }

    fn worker(self, worker: i64, ended_at: i64, came_back_at: Option<i64>) -> Self {
        self.push(Record::Worker { worker, ended_at: Some(ended_at), came_back_at })
    }

    fn closed(mut self) -> Self {
        self.at += 10;
        let at = self.at;
        self.push(Record::Closed { at, records: None })
    }

    fn later(mut self) -> Self {
        self.at += 10;
        self
    }

    #[track_caller]
    fn keeps(self) {
        let found = check(&self.records, 0);
        assert!(found.is_empty(), "{found:?}");
    }

    #[track_caller]
    fn breaks(self, rule: Rule) {
        let found = check(&self.records, 0);
        assert!(found.iter().any(|violation| violation.rule == rule), "{found:?}");
        assert!(found.iter().all(|violation| violation.rule == rule), "{found:?}");
        assert!(found.iter().all(|violation| violation.what.contains("42")), "each names the run: {found:?}");
    }
}

#[test]
fn a_run_that_ends_keeps_all_promises() {
    Story::new()
        .claimed_by(1, false)
        .done(0)
        .step("StepStarted", 1)
        .step("SlotGranted", 1)
        .hook(1, 5)
        .later()
        .step("StepSucceeded", 1)
        .event("Finished")
        .worker(1, 1_000, None)
        .closed()
        .keeps();
}

#[test]
fn a_run_that_was_accepted_and_forgotten() {
    Story::new().claimed_by(1, false).done(0).keeps();
    Story::new().claimed_by(1, false).done(0).closed().breaks(Rule::Ends);
}

#[test]
fn a_journal_with_a_gap_a_repeat_or_an_afterlife() {
    let mut story = Story::new().claimed_by(1, false);
    story.seq += 1;
    story.step("StepStarted", 0).breaks(Rule::Journal);
    let mut story = Story::new().claimed_by(1, false).step("StepStarted", 0);
    story.seq -= 1;
    story.step("StepNoted", 0).breaks(Rule::Journal);
    Story::new().claimed_by(1, false).event("Finished").event("LeaseReleased").breaks(Rule::Journal);
}

#[test]
fn a_write_under_a_stale_epoch() {
    let mut story = Story::new().claimed_by(1, false).step("StepStarted", 0).claimed_by(2, true);
    story.epoch = 1;
    story.step("StepNoted", 0).breaks(Rule::Epoch);
    let mut story = Story::new().claimed_by(1, false);
    story.epoch = 2;
    story.step("StepStarted", 0).breaks(Rule::Epoch);
}

#[test]
fn a_write_of_an_ended_worker() {
    let story = Story::new().claimed_by(1, false).step("StepStarted", 0);
    let now = story.at;
    story.worker(1, now, None).keeps();
    Story::new().claimed_by(1, false).step("StepStarted", 0).worker(1, now - 1, None).breaks(Rule::Epoch);
}

#[test]
fn a_recorded_step_that_is_redone() {
    Story::new().claimed_by(1, false).done(0).done(1).keeps();
    Story::new().claimed_by(1, false).done(0).step("StepSucceeded", 0).breaks(Rule::Recorded);
    Story::new().claimed_by(1, false).step("StepStarted", 0).step("StepStarted", 0).breaks(Rule::Recorded);
    Story::new().claimed_by(1, false).done(1).hook(1, 5).breaks(Rule::Recorded);
}

#[test]
fn a_call_that_is_repeated_although_its_effect_shows() {
    let call = |story: Story| {
        let at = story.at;
        story.push(Record::Call { run: RUN, step: 0, at }).later()
    };
    let shown = |story: Story| {
        let at = story.at;
        story.push(Record::Effect { run: RUN, step: 0, at }).later()
    };
    let story = || Story::new().claimed_by(1, false).step("StepStarted", 0).later();
    shown(call(call(story()))).step("StepSucceeded", 0).keeps();
    call(shown(call(story()))).breaks(Rule::Recorded);
    call(story().step("StepSucceeded", 0).later()).breaks(Rule::Recorded);
}

#[test]
fn a_run_before_its_turn() {
    let first = || Story::new().claimed_by(1, false).done(0);
    let second = |story: Story| {
        let mut story = story.accepted(43, "shop", 2);
        story.epoch = 1;
        story.event_of(43, "Claimed", None, Facts { worker: Some(2), ..Facts::default() })
    };
    second(first().event("Finished")).keeps();
    second(first()).breaks(Rule::Order);
    // Ended in the line is no turn taken.
    first()
        .accepted(43, "shop", 2)
        .event_of(43, "CancelRequested", None, Facts::default())
        .event_of(43, "Finished", None, Facts::default())
        .keeps();
}

#[test]
fn more_hooks_than_the_limit() {
    let hook = |story: Story, long| story.hook(1, long);
    hook(hook(Story::new(), 5), 5).keeps();
    hook(hook(Story::new(), 15), 5).breaks(Rule::Limit);
    hook(hook(Story::new().limit(2), 15), 5).keeps();
    // Lowered while it ran: whoever was let in before may begin, whoever comes later may not.
    let lowered = hook(Story::new().limit(2), 100).limit(1);
    hook(lowered, 5).keeps();
    hook(hook(Story::new().limit(2), 5).limit(1).hook(1, 30), 5).breaks(Rule::Limit);
}

#[test]
fn a_waiter_that_was_passed_over() {
    let grant = |ticket, at, eligible: &[i64]| Record::Grant {
        pool: "hooks".to_owned(),
        at,
        ticket,
        run: RUN,
        step: 1,
        attempt: 1,
        eligible: Some(eligible.to_vec()),
    };
    Story::new().push(grant(1, 50, &[1, 2, 3])).push(grant(2, 50, &[1, 2, 3])).push(grant(3, 60, &[3, 4])).keeps();
    Story::new().push(grant(2, 50, &[1, 2])).breaks(Rule::Tickets);
}

#[test]
fn a_cancelled_run_that_goes_on() {
    let cancelled = || Story::new().claimed_by(1, false).done(0).event("CancelRequested");
    cancelled().step("StepStarted", 2).step("StepSucceeded", 2).event("Finished").keeps();
    cancelled().step("StepStarted", 1).breaks(Rule::Cancel);
    let asked = |story: Story| {
        let at = story.at;
        story.push(Record::CancelAsked { run: RUN, at }).later()
    };
    asked(Story::new().claimed_by(1, false)).step("StepStarted", 0).event("CancelRequested").event("Finished").keeps();
    asked(Story::new().claimed_by(1, false)).done(0).done(1).breaks(Rule::Cancel);
}

#[test]
fn a_stuck_run_that_ends_without_a_word() {
    let stuck = || Story::new().claimed_by(1, false).failed("Stuck", 0, "RESTORE_FAILED").later();
    let said = |story: Story, record: fn(i64) -> Record| {
        let at = story.at;
        story.push(record(at)).later()
    };
    let gives_up: fn(i64) -> Record = |at| Record::AbandonAsked { run: RUN, at };
    let cancels: fn(i64) -> Record = |at| Record::CancelAsked { run: RUN, at };
    said(stuck(), gives_up).event("Abandoned").event("Finished").keeps();
    said(stuck(), cancels).event("Abandoned").event("Finished").keeps();
    // What was said before it got stuck is no word on it.
    let early = said(Story::new().claimed_by(1, false), cancels).event("CancelRequested").later();
    early.failed("Stuck", 0, "RESTORE_FAILED").later().event("Abandoned").event("Finished").breaks(Rule::Stuck);
}

#[test]
fn an_unknown_outcome_that_was_known() {
    let granted = |step| Story::new().claimed_by(1, false).step("StepStarted", step).step("SlotGranted", step);
    granted(1).claimed_by(2, true).failed("StepFailed", 1, "OUTCOME_UNKNOWN").event("Finished").keeps();
    // It could have been run again.
    granted(0).claimed_by(2, true).failed("StepFailed", 0, "OUTCOME_UNKNOWN").breaks(Rule::Unknown);
    // Nobody had begun.
    Story::new()
        .claimed_by(1, false)
        .step("StepStarted", 1)
        .claimed_by(2, true)
        .failed("StepFailed", 1, "OUTCOME_UNKNOWN")
        .breaks(Rule::Unknown);
    // The one who says so is the one who was let in.
    granted(1).failed("StepFailed", 1, "OUTCOME_UNKNOWN").breaks(Rule::Unknown);
    // It had yielded since.
    granted(1)
        .step("StepYielded", 1)
        .claimed_by(2, false)
        .failed("StepFailed", 1, "OUTCOME_UNKNOWN")
        .breaks(Rule::Unknown);
}

#[test]
fn workers_that_were_not_lost() {
    let three = |last| {
        Story::new()
            .claimed_by(1, false)
            .step("StepStarted", 0)
            .claimed_by(2, true)
            .claimed_by(3, true)
            .claimed_by(4, last)
            .failed("Stuck", 0, "WORKERS_LOST")
    };
    three(true).keeps();
    three(false).breaks(Rule::Lost);
    // Events are 10 apart: the third claim is the one before whoever says so.
    let third = three(true).at - 20;
    three(true).worker(2, 1_000, Some(third)).breaks(Rule::Lost);
    three(true).worker(2, 1_000, Some(third + 1)).keeps();
}

#[test]
fn a_hook_that_was_inherited_and_begun_again() {
    let retried = |name| {
        let mut story = Story::new().claimed_by(1, false).done(3).event("Finished").accepted(43, "shop", 2);
        if let Some(Record::Accepted { retry_of, .. }) =
            story.records.iter_mut().rev().find(|record| matches!(record, Record::Accepted { .. }))
        {
            *retry_of = Some(RUN);
        }
        story.epoch = 1;
        let claim = Facts { worker: Some(2), ..Facts::default() };
        story.event_of(43, "Claimed", None, claim).event_of(43, "StepStarted", Some(name), Facts::default())
    };
    retried(0).keeps();
    retried(3).breaks(Rule::Recorded);
}

#[test]
fn a_hook_that_was_given_up_too_soon() {
    let failed = |step, waited| {
        let mut story = Story::new().claimed_by(1, false).step("StepStarted", step);
        story.at += waited;
        story.failed("StepFailed", step, "CODE_ENV_UNAVAILABLE")
    };
    failed(1, 1_000).keeps();
    failed(1, 500).breaks(Rule::Unavailable);
    failed(0, 5_000).breaks(Rule::Unavailable);
}

#[test]
fn a_run_that_is_driven_twice() {
    let work = |epoch, step, from, until| Record::Work { run: RUN, epoch, step, from, until };
    let story = || Story::new().push(work(1, 0, 100, 200));
    story().push(work(1, 1, 200, 300)).push(work(2, 0, 150, 300)).keeps();
    story().push(work(1, 0, 150, 180)).breaks(Rule::Alone);
}
