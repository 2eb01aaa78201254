use super::*;

fn hook(phase: Phase, name: &str, on_interrupt: OnInterrupt) -> PlannedHook {
    PlannedHook {
        id: format!("id-{name}"),
        phase,
        name: name.to_owned(),
        code_ref: format!("code-{name}"),
        code_env: None,
        os_user: None,
        deadline_ms: 5_000,
        on_interrupt,
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn hooks_stand_before_and_after_in_their_order() {
    let hooks = [
        hook(Phase::Post, "tell", OnInterrupt::Fail),
        hook(Phase::Pre, "freeze", OnInterrupt::Rerun),
        hook(Phase::Pre, "tests", OnInterrupt::Fail),
    ];
    let plan = plan(&Settings::default(), &[None], None, &hooks).unwrap();
    let expected = [
        "check_policy",
        "pre_hooks/1",
        "pre_hooks/2",
        "validate_remap",
        "push_bundle",
        "activate",
        "enforce_run_as",
        "verify",
        "post_hooks/1",
    ];
    assert_eq!(names(&plan), expected);
    let waits: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| step.slot.as_ref())
        .map(|slot| (slot.pool.as_str(), slot.wait_ms))
        .collect();
    assert_eq!(waits, [("hooks", 10_000), ("hooks", 10_000), ("hooks", 60_000)]);
    let warning: Vec<_> = plan.steps.iter().filter(|step| step.failure_warns).map(|step| step.name.as_str()).collect();
    assert_eq!(warning, ["post_hooks/1"]);
    let interrupts: Vec<_> = plan.steps.iter().filter(|step| step.kind == HOOK).map(|step| step.on_interrupt).collect();
    assert_eq!(interrupts, [OnInterrupt::Rerun, OnInterrupt::Fail, OnInterrupt::Fail]);
    let params: HookParams = serde_json::from_value(plan.steps[2].params.clone()).unwrap();
    assert_eq!((params.name.as_str(), params.code_ref.as_str(), params.index), ("tests", "code-tests", 2));
    assert!(plan.steps[2].policy.deadline_ms > params.deadline_ms);
}

#[test]
fn restore_is_the_last_step_and_only_where_it_is_wanted() {
    let restoring =
        plan(&Settings::default(), &[None], Some(OnFailure::Restore), &[hook(Phase::Post, "tell", OnInterrupt::Fail)])
            .unwrap();
    assert!(restoring.steps.last().is_some_and(|step| step.name == RESTORE && step.only_after_failure));
    assert_eq!(restoring.on_failure, OnFailure::Restore);
    let restorable: Vec<_> =
        restoring.steps.iter().filter(|step| step.restorable).map(|step| step.name.as_str()).collect();
    assert_eq!(restorable, ["activate", "enforce_run_as", "verify"]);
    let settings = Settings { on_failure: OnFailure::Restore, ..Settings::default() };
    let left = plan(&settings, &[None], Some(OnFailure::Leave), &[]).unwrap();
    assert!(!names(&left).contains(&RESTORE));
    assert!(names(&plan(&settings, &[None], None, &[]).unwrap()).contains(&RESTORE));
}

#[test]
fn an_infrastructure_overrides_what_it_names() {
    let retry = RetryPolicy { max_attempts: 9, initial_ms: 1, cap_ms: 2 };
    let overrides =
        BTreeMap::from([("push_bundle".to_owned(), StepOverride { retry: Some(retry.clone()), deadline_ms: None })]);
    assert_eq!(policy("push_bundle", &overrides), StepPolicy { retry, deadline_ms: 60 * MINUTE });
    assert_eq!(policy("activate", &overrides).retry.max_attempts, 3);
    assert_eq!(policy(HOOK, &overrides).retry, RetryPolicy::NEVER);
}

#[test]
fn every_kind_of_step_has_a_policy_that_can_be_set() {
    let override_of = |kind: &str| {
        let deadline = StepOverride { retry: None, deadline_ms: Some(77_000) };
        Settings { step_policies: BTreeMap::from([(kind.to_owned(), deadline)]), ..Settings::default() }
    };
    let hooks = [hook(Phase::Pre, "tests", OnInterrupt::Fail)];
    let planned = plan(&Settings::default(), &[None], Some(OnFailure::Restore), &hooks).unwrap().steps;
    let mut kinds: std::collections::BTreeSet<_> = planned.iter().map(|step| step.kind.clone()).collect();
    for kind in [SWITCH_OFF, DELETE_PROJECT] {
        assert_eq!(step(kind, None, &override_of(kind)).policy.deadline_ms, 77_000);
        kinds.insert(kind.to_owned());
    }
    assert_eq!(kinds, infrastructures::STEP_KINDS.map(str::to_owned).into());
}
