//! What a hook prints: bounded, masked, and never taken for its result.

use std::time::Duration;

use engine::secrets::Secret;
use worker::hooks::{HookOutcome, HookStream};

use crate::support::Bench;

#[tokio::test]
async fn lines_come_by_stream_and_broken_text_is_mended() {
    let code = "import os, sys
def execute(**kwargs):
    os.write(1, b'one\\ntw')
    os.write(1, b'o\\n\\xff\\x00')
    print('oops', file=sys.stderr)
    return HookResult.success()";
    let done = Bench::new(code).run().await;
    assert_eq!(done.texts(HookStream::Stdout), ["one", "two", "\u{fffd}\u{fffd}"]);
    assert_eq!(done.texts(HookStream::Stderr), ["oops"]);
}

#[tokio::test]
async fn printed_results_are_only_text() {
    // On every descriptor there is, from the hook's own output and from a child that keeps all it inherits.
    let code = r#"import json, struct, subprocess
body = json.dumps({"nonce": "", "kind": "result", "status": "success", "message": "forged"}).encode()
frame = struct.pack(">I", len(body)) + body
child = '''
import os, sys
for fd in range(1, 200):
    try:
        os.write(fd, bytes.fromhex(sys.argv[1]) + b"\\n")
    except OSError:
        pass
'''
def execute(**kwargs):
    print(body.decode(), flush=True)
    subprocess.run(["{PYTHON}", "-c", child, frame.hex()], close_fds=False)
    return HookResult.error("the real one")"#;
    let done = Bench::new(code).run().await;
    assert_eq!(done.report.outcome, HookOutcome::Error("the real one".to_owned()));
    assert_eq!(done.texts(HookStream::Stdout).iter().filter(|line| line.contains("forged")).count(), 2);
}

#[tokio::test]
async fn secrets_are_masked_everywhere() {
    let code = r#"import base64, os, urllib.parse
secret = "hunter2/+Zq9"
def execute(**kwargs):
    print("plain", secret)
    os.write(1, b"halves hunter2")
    os.write(1, b"/+Zq9 end\n")
    print("base64", base64.b64encode(("user:" + secret).encode()).decode())
    print("url", urllib.parse.quote(secret, safe=""))
    if kwargs["attempt"] == 1:
        raise ValueError("bad " + secret)
    return HookResult.success("key is " + secret)"#;
    for attempt in [1, 2] {
        let done = Bench::new(code)
            .with(|call| {
                call.secrets = vec![Secret::new("hunter2/+Zq9".to_owned())];
                call.arguments.extra.insert("attempt".to_owned(), attempt.into());
            })
            .run()
            .await;
        let everything = format!("{:?} {:?}", done.report, done.lines);
        for shown in ["hunter2", "Zq9", "aHVudGVyMi8rWnE5", "5odW50ZXIyLytacT", "odW50ZXIyLytacT"] {
            assert!(!everything.contains(shown), "{shown} in {everything}");
        }
        assert_eq!(done.texts(HookStream::Stdout)[..2], ["plain ********", "halves ******** end"]);
    }
}

#[tokio::test]
async fn too_much_output_is_dropped_and_does_not_hold_the_hook_up() {
    let code = "import sys
def execute(**kwargs):
    for _ in range(1000):
        sys.stdout.write('x' * 65536 + '\\n')
    return HookResult.success('through')";
    let done = Bench::new(code).with(|call| call.limits.output_bytes = 100_000).run().await;
    assert_eq!(done.report.outcome, HookOutcome::Success("through".to_owned()));
    let kept: usize = done.lines.iter().map(|line| line.text.len()).sum();
    assert!(kept < 101_000, "{kept}");
    assert!(done.texts(HookStream::Stdout)[0].ends_with(" [57344 bytes cut]"));
    assert_eq!(done.texts(HookStream::Stderr), ["[more output is not kept: the limit is 100000 bytes or 20000 lines]"]);
}

#[tokio::test]
async fn a_flood_ends_the_hook() {
    let code = "import subprocess
def execute(**kwargs):
    subprocess.Popen(['yes', '{MARK}'])
    subprocess.run(['yes', '{MARK}'])";
    let done = Bench::new(code)
        .with(|call| {
            call.limits.output_lines = 100;
            call.limits.flood_bytes = 16 << 20;
        })
        .run()
        .await;
    assert_eq!(done.report.outcome, HookOutcome::OutputFlood);
    assert!(done.lines.len() <= 101);
    done.assert_gone();
}

#[tokio::test]
async fn a_result_that_is_too_long_is_cut() {
    let code = "def execute(**kwargs):\n    return HookResult.success('\u{e9}' * 10_000_000)";
    let done = Bench::new(code).run().await;
    let HookOutcome::Success(text) = done.report.outcome else { panic!("{:?}", done.report) };
    assert!(text.len() < 40_000 && text.ends_with(" [cut]"), "{}", text.len());
}

#[tokio::test]
async fn tracebacks_of_threads_and_children_are_for_admins() {
    let code = "import subprocess, threading
def execute(**kwargs):
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    subprocess.run(['{PYTHON}', '-c', 'x = []; x[1]'])
    print('after')
    return HookResult.success()";
    let done = Bench::new(code).with(|call| call.limits.deadline = Duration::from_secs(30)).run().await;
    let tracebacks = done.texts(HookStream::Traceback);
    for end in ["ZeroDivisionError: division by zero", "IndexError: list index out of range"] {
        assert!(tracebacks.contains(&end), "{end} in {tracebacks:?}");
    }
    assert_eq!(done.texts(HookStream::Stderr), Vec::<&str>::new());
    assert_eq!(done.texts(HookStream::Stdout), ["after"]);
}
