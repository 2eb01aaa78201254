//! `slipway hook test`: what a hook does alone, and what it does twice when it is killed between its effects.

use std::{fs, process::Command};

use tests::{scratch::Scratch, slipway};

use crate::api::commands::{run, said};

/// The interpreter of a code env that has Dataiku's client, made once and kept with the build.
pub(crate) fn python_with_client() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/code-env");
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/code-env");
    let out = Command::new(script).args([folder, &slipway::python()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Runs the command on this hook: its exit code, and what it printed.
fn tried(code: &str, python: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let scratch = Scratch::new("hook-test");
    fs::write(scratch.path().join("hook.py"), code).unwrap();
    let arguments = [&["hook", "test", "hook.py", "--python", python], arguments].concat();
    let output = run(&scratch, &arguments, &[]);
    (output.status.code(), said(&output))
}

const POST: &str = "
import urllib.request
def post(url, **headers):
    request = urllib.request.Request(url, data=b'x', headers={k.replace('_', '-'): v for k, v in headers.items()})
    urllib.request.urlopen(request, timeout=20).read()
";

#[test]
fn a_hook_that_may_be_run_again_passes() {
    let code = format!(
        "{POST}
def execute(automation_client, deployed_project_key, idempotency_key, attempt, **kwargs):
    project = automation_client.get_project(deployed_project_key)
    variables = project.get_variables()
    variables['standard']['seen'] = 'yes'
    project.set_variables(variables)
    print('attempt', attempt)
    post('http://chat.example.org/told', Idempotency_Key=idempotency_key)
    return HookResult.success('told')"
    );
    let (exit, told) = tried(&code, &python_with_client(), &["--crash-between"]);
    assert_eq!(exit, Some(0), "{told}");
    for part in [
        "HOOK_SUCCEEDED \"told\"",
        "| attempt 1",
        "1  GET     /projects/CHURN/variables",
        "2  PUT     /projects/CHURN/variables",
        "3  POST    http://chat.example.org/told   (with the idempotency key)",
        "1. killed after PUT /projects/CHURN/variables, run again: HOOK_SUCCEEDED",
        "2. killed after POST http://chat.example.org/told, run again: HOOK_SUCCEEDED",
        "verdict: it may be run again",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // After the first kill, the variables were written twice; after the second, the message was sent twice, too.
    assert_eq!(told.matches("    twice  PUT     /projects/CHURN/variables\n").count(), 2, "{told}");
    assert_eq!(told.matches("    twice  POST    http://chat.example.org/told").count(), 1, "{told}");
}

#[test]
fn a_hook_that_does_harm_twice_is_shown_to() {
    let code = format!(
        "{POST}
def execute(automation_client, deployed_project_key, **kwargs):
    project = automation_client.get_project(deployed_project_key)
    variables = project.get_variables()
    variables['standard']['count'] = variables['standard'].get('count', 0) + 1
    project.set_variables(variables)
    project.get_scenario('DAILY').run()
    post('http://tickets.example.org/new')
    return HookResult.warning('counted')"
    );
    let (exit, told) = tried(&code, &python_with_client(), &["--crash-between"]);
    assert_eq!(exit, Some(1), "{told}");
    let count = |part: &str| told.matches(part).count();
    assert_eq!(count("! twice  PUT     /projects/CHURN/variables   (with another body)"), 3, "{told}");
    assert_eq!(count("! twice  POST    /projects/CHURN/scenarios/DAILY/run"), 2, "{told}");
    assert_eq!(count("! twice  POST    http://tickets.example.org/new"), 1, "{told}");
    assert_eq!(count("! the node does not end as it does after the hook alone"), 3, "{told}");
    assert!(told.contains("verdict: NOT to be run again"), "{told}");
}

/// The second attempt looks first, so it does nothing twice; but it falls over what it finds.
#[test]
fn a_hook_that_fails_when_it_is_run_again_is_shown_to() {
    let code = format!(
        "{POST}
def execute(attempt, **kwargs):
    if attempt > 1:
        return HookResult.error('somebody was here')
    post('http://tickets.example.org/new')
    return HookResult.success('done')"
    );
    let (exit, told) = tried(&code, &slipway::python(), &["--crash-between"]);
    assert_eq!(exit, Some(1), "{told}");
    assert!(told.contains("run again: HOOK_ERROR \"somebody was here\"\n  ! it does not end as it does alone\n    nothing was made twice"), "{told}");
}

/// What an attempt does otherwise than the hook alone, and what could not be tried, is never passed over.
#[test]
fn no_verdict_is_given_on_what_was_not_seen() {
    let python = slipway::python();
    let cases = [
        (
            "what is lost",
            "    if attempt == 1:\n        post('http://a.example.org/one')\n        post('http://a.example.org/two')",
            "  ! never  POST    http://a.example.org/two",
        ),
        (
            "another address each time",
            "    post('http://a.example.org/' + str(os.getpid()))",
            "it did not come to that call this time",
        ),
        (
            "a refused tunnel",
            "    try:\n        urllib.request.urlopen('https://b.example.org/', timeout=20)\n    except OSError:\n        pass\n    post('http://a.example.org/', Key=idempotency_key)",
            "verdict: nothing can be said",
        ),
        (
            "the deployment is no key",
            "    post('http://a.example.org/', Name=deployment_id)",
            "  ! twice  POST    http://a.example.org/\n",
        ),
    ];
    for (case, body, wanted) in cases {
        let code = format!(
            "import os{POST}\ndef execute(attempt, deployment_id, idempotency_key, **kwargs):\n{body}\n    return HookResult.success('done')"
        );
        let (exit, told) = tried(&code, &python, &["--crash-between"]);
        assert!(exit == Some(1) && told.contains(wanted), "{case}: {told}");
    }
    let code = format!(
        "{POST}\ndef execute(idempotency_key, **kwargs):\n    for n in range(3):\n        post('http://a.example.org/x?n=%d&k=%s' % (n // 2, idempotency_key))\n    return HookResult.success('done')"
    );
    let (exit, told) = tried(&code, &python, &["--crash-between", "--points", "2"]);
    assert!(exit == Some(1) && told.contains("calls after which it was not killed: 1"), "{told}");
    let (exit, told) = tried(&code, &python, &["--crash-between"]);
    assert!(exit == Some(0) && told.contains("3. killed after POST http://a.example.org/x?n=1&k="), "{told}");
}

/// The call that is meant is held, however many others come before it.
#[test]
fn the_named_call_is_the_one_after_which_it_is_killed() {
    let code = format!(
        "import random{POST}
def execute(**kwargs):
    for _ in range(random.randint(0, 12)):
        urllib.request.urlopen('http://a.example.org/state', timeout=20).read()
    post('http://a.example.org/pay')
    return HookResult.success('paid')"
    );
    let (exit, told) = tried(&code, &slipway::python(), &["--crash-between"]);
    assert!(exit == Some(1) && told.contains("  ! twice  POST    http://a.example.org/pay"), "{told}");
}

#[test]
fn without_kills_it_is_run_once() {
    let code = "def execute(deployment_report, **kwargs):\n    return HookResult.success(str(deployment_report and sorted(deployment_report.items())))";
    let python = slipway::python();
    let (exit, told) = tried(code, &python, &[]);
    assert_eq!(exit, Some(0), "{told}");
    assert!(
        told.contains("[('messages', []), ('status', 'SUCCESS')]") && told.ends_with("verdict: it ends well\n"),
        "{told}"
    );
    let (exit, told) = tried(code, &python, &["--phase", "pre", "--crash-between"]);
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("HOOK_SUCCEEDED \"None\"") && told.contains("no effect that can be seen here"), "{told}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    let python = slipway::python();
    let secure = "import urllib.request
def execute(**kwargs):
    urllib.request.urlopen('https://chat.example.org/', timeout=20)";
    let (exit, told) = tried(secure, &python, &["--crash-between"]);
    assert_eq!(exit, Some(1), "{told}");
    assert!(told.contains("CONNECT chat.example.org:443") && told.contains("https was refused"), "{told}");
    let (exit, told) = tried("def execute(:", &python, &[]);
    assert_eq!(exit, Some(1), "{told}");
    assert!(told.contains("HOOK_COMPILE_ERROR") && told.contains("does not end well alone"), "{told}");
    for (arguments, wanted) in [
        (&["--bundle", "nothing.zip"][..], "nothing.zip"),
        (&["--bundle", "hook.py"], "hook.py failed"),
        (&["--points", "0"], "--points"),
    ] {
        let (exit, told) = tried("", &python, arguments);
        assert!(exit != Some(0) && told.contains(wanted), "{told}");
    }
    let (exit, told) = tried("", "no-such-env", &[]);
    assert!(exit == Some(1) && told.contains("CODE_ENV_UNKNOWN: --python: no-such-env"), "{told}");
}
