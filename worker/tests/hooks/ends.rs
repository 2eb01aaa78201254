//! Every way in which a hook can end by itself.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use worker::hooks::{DeploymentReport, HookOutcome, HookStream};

use crate::support::Bench;

fn body(line: &str) -> String {
    format!("def execute(**kwargs):\n    {line}\n")
}

#[tokio::test]
async fn the_three_results() {
    for (call, outcome, code) in [
        ("success('done')", HookOutcome::Success("done".to_owned()), "HOOK_SUCCEEDED"),
        ("warning('hm')", HookOutcome::Warning("hm".to_owned()), "HOOK_WARNING"),
        ("error('no: \u{e9}')", HookOutcome::Error("no: \u{e9}".to_owned()), "HOOK_ERROR"),
    ] {
        let done = Bench::new(&body(&format!("return HookResult.{call}"))).run().await;
        assert_eq!(done.report.outcome, outcome);
        assert_eq!(done.report.outcome.code(), code);
        assert_eq!(done.report.leftovers, 0);
        assert!(done.report.duration > Duration::ZERO);
        done.assert_gone();
    }
}

#[tokio::test]
async fn other_ends_have_codes_of_their_own() {
    let exited = |code| HookOutcome::Exited { code };
    for (code, outcome) in [
        (body("return None"), HookOutcome::ReturnedNothing),
        (body("return 42"), HookOutcome::BadResult { found: "int".to_owned() }),
        ("x = 1".to_owned(), HookOutcome::NoExecuteFunction),
        ("execute = 5".to_owned(), HookOutcome::NoExecuteFunction),
        (body("import sys; sys.exit(1)"), exited(1)),
        (body("import sys; sys.exit()"), exited(0)),
        (body("import sys; sys.exit('enough')"), exited(1)),
        (body("import os; os._exit(3)"), exited(3)),
        (body("import os; os.kill(os.getpid(), 9)"), HookOutcome::KilledBySignal { signal: 9 }),
        // A child that falls out of the hook's function is no second answer.
        (
            body("import os; pid = os.fork(); pid and os.waitpid(pid, 0); return HookResult.success(str(pid > 0))"),
            HookOutcome::Success("True".to_owned()),
        ),
        // A thread that never ends does not keep a hook that returned.
        (
            body(
                "import threading, signal; threading.Thread(target=threading.Event().wait).start(); return HookResult.success('x')",
            ),
            HookOutcome::Success("x".to_owned()),
        ),
    ] {
        let done = Bench::new(&code).run().await;
        assert_eq!(done.report.outcome, outcome, "{code}");
        done.assert_gone();
    }
}

#[tokio::test]
async fn an_exception_is_told_and_its_traceback_is_for_admins() {
    let code = "import json\nSECRET_LINE = 1\ndef execute(**kwargs):\n    json.loads('[')\n";
    let done = Bench::new(code).run().await;
    let HookOutcome::Raised { exception, message, traceback } = &done.report.outcome else {
        panic!("{:?}", done.report)
    };
    assert_eq!(exception, "json.decoder.JSONDecodeError");
    assert!(message.starts_with("Expecting value"), "{message}");
    assert!(traceback.contains("File \"<hook check>\", line 4, in execute\n    json.loads('[')"), "{traceback}");
    assert!(!traceback.contains("runner"), "{traceback}");
    assert!(done.texts(HookStream::Traceback).iter().any(|line| line.contains("line 4, in execute")));
    assert_eq!(done.texts(HookStream::Stderr), Vec::<&str>::new());
    assert_eq!(done.report.outcome.code(), "HOOK_RAISED");
    done.assert_gone();
}

#[tokio::test]
async fn code_that_does_not_compile_says_where() {
    let done = Bench::new("x = 1\ndef execute(:\n").run().await;
    let HookOutcome::CompileError { message, .. } = &done.report.outcome else { panic!("{:?}", done.report) };
    assert!(message.contains("SyntaxError") && message.contains("line 2"), "{message}");
    let done = Bench::new("x = '\0'").run().await;
    assert_eq!(done.report.outcome.code(), "HOOK_COMPILE_ERROR");
}

#[tokio::test]
async fn arguments_come_by_keyword_and_only_those_that_are_taken() {
    let report = Some(DeploymentReport { status: "WARNING".to_owned(), messages: vec!["m".to_owned()] });
    let code = "def execute(deployed_project_key, deployment_report, requesting_user, *, attempt, missing=7):
    return HookResult.success(repr([deployed_project_key, deployment_report, requesting_user, attempt, missing]))";
    let done = Bench::new(code).with(|call| call.arguments.deployment_report = report).run().await;
    let wanted = "['SALES', {'messages': ['m'], 'status': 'WARNING'}, 'ada', 1, 7]";
    assert_eq!(done.report.outcome, HookOutcome::Success(wanted.to_owned()));

    let all = "import json\ndef execute(requesting_user, deployment_id, deployment_report, deployer_client, automation_client, deploying_user, deployed_project_key, **kwargs):
    return HookResult.success(json.dumps([deployment_report, deploying_user, kwargs, type(deployer_client).__name__]))";
    let done = Bench::new(all).run().await;
    let HookOutcome::Success(text) = &done.report.outcome else { panic!("{:?}", done.report) };
    let got: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(got, json!([null, "deployer", { "attempt": 1 }, "UnavailableClient"]));
}

#[tokio::test]
async fn a_hook_sees_nothing_of_the_workers_surroundings() {
    let code = "import os
def execute(**kwargs):
    status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
    open('file', 'w').write('x')
    fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))
    print(sorted(os.environ), os.getcwd() == os.environ['HOME'], oct(os.stat('.').st_mode & 0o777), status['NoNewPrivs'])
    print(os.read(0, 1), [fd for fd in fds if 3 <= fd < 64][1:])
    return HookResult.success()";
    let done = Bench::new(code).run().await;
    let names = "['HOME', 'LANG', 'PATH', 'PYTHONUNBUFFERED', 'SLIPWAY_HOOK', 'TMPDIR']";
    // The one descriptor is the listing's own.
    assert_eq!(done.texts(HookStream::Stdout), [&format!("{names} True 0o700 1"), "b'' []"], "{:?}", done.report);
    done.assert_gone();
}

#[tokio::test]
async fn no_interpreter_is_told_from_a_broken_one() {
    let run = async |python: &str| {
        let done = Bench::new(&body("return None")).with(|call| call.python = python.into()).run().await;
        done.assert_gone();
        done.report.outcome.code()
    };
    assert_eq!(run("/nowhere/python3").await, "HOOK_INTERPRETER_MISSING");
    assert_eq!(run("/etc/passwd").await, "HOOK_INTERPRETER_MISSING");
    assert_eq!(run("/bin/true").await, "HOOK_INTERPRETER_FAILED");
    let done = Bench::new("").with(|call| call.supervisor.program = "/nowhere/slipway".into()).run().await;
    assert_eq!(done.report.outcome.code(), "HOOK_NOT_STARTED");
    let done = Bench::new("").with(|call| call.scratch_root = "/nowhere".into()).run().await;
    assert_eq!(done.report.outcome.code(), "HOOK_NOT_STARTED");
}

#[tokio::test]
async fn another_os_user() {
    let code = "import os
def execute(**kwargs):
    open('mine', 'w').write('x')
    return HookResult.success('%d %d %s' % (os.getuid(), os.stat('mine').st_uid, os.getgroups()))";
    let as_user = |name: &str| {
        let name = Some(name.to_owned());
        Bench::new(code).with(|call| {
            call.os_user = name;
            call.python = crate::support::SYSTEM_PYTHON.clone();
        })
    };
    let done = as_user("no-such-user-here").run().await;
    assert_eq!(done.report.outcome.code(), "HOOK_USER_UNAVAILABLE");
    done.assert_gone();

    if rustix::process::geteuid().is_root() {
        let done = as_user("nobody").run().await;
        done.assert_gone();
        assert_eq!(done.report.outcome, HookOutcome::Success("65534 65534 []".to_owned()));
        let shut = as_user("nobody");
        std::fs::set_permissions(shut.scratch.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let done = shut.run().await;
        assert!(
            matches!(&done.report.outcome, HookOutcome::UserUnavailable { detail } if detail.contains("can't enter"))
        );
        done.assert_gone();
    } else {
        let done = as_user("root").run().await;
        assert_eq!(done.report.outcome.code(), "HOOK_USER_UNAVAILABLE");
        done.assert_gone();
    }
}

#[tokio::test]
async fn resource_limits_hold_for_the_hook() {
    let spin = Bench::new(&body("while True: pass")).with(|call| call.limits.process.cpu_seconds = Some(1)).run().await;
    // SIGXCPU
    assert_eq!(spin.report.outcome, HookOutcome::KilledBySignal { signal: 24 });
    spin.assert_gone();

    let code = "import os, resource
def execute(**kwargs):
    try:
        with open('big', 'wb') as file:
            file.truncate(200 << 20)
    except OSError as error:
        print(error.strerror)
    try:
        bytes(2 << 30)
    except MemoryError:
        print('no memory')
    print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))
    return HookResult.success()";
    let done = Bench::new(code)
        .with(|call| {
            call.limits.process.file_bytes = 100 << 20;
            call.limits.process.address_space_bytes = Some(1 << 30);
            call.limits.process.open_files = 200;
        })
        .run()
        .await;
    let wanted = ["File too large", "no memory", "(0, 0) (200, 200)"];
    assert_eq!(done.texts(HookStream::Stdout), wanted, "{:?}", done.report);
}
