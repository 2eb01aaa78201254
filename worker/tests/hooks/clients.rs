//! The clients that a hook is given.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::secrets::Secret;
use worker::hooks::{ClientAccess, HookOutcome};

use crate::support::{Bench, PYTHON};

/// A code env with the public Python client, made once and kept with the build.
fn code_env_with_client() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/code-env");
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/hook-code-env");
    let out = Command::new(script).arg(folder).arg(&*PYTHON).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().into()
}

/// A Python that has nothing but itself, whatever the machine's own has.
fn bare_python(folder: &Path) -> PathBuf {
    let out = Command::new(&*PYTHON).args(["-m", "venv", "--without-pip"]).arg(folder).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    folder.join("bin/python3")
}

/// Answers one request with a list of one project; returns the request's head.
fn serve_once(listener: TcpListener) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0);
        }
        let body = r#"[{"projectKey":"SALES"}]"#;
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = reader.read_to_end(&mut Vec::new());
        head
    })
}

fn access(url: String) -> Option<ClientAccess> {
    Some(ClientAccess { url, key: Secret::new("node-key-1234".to_owned()), no_check_certificate: true })
}

#[tokio::test]
async fn the_automation_client_is_the_real_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = serve_once(listener);
    let code = "import dataikuapi
def execute(automation_client, **kwargs):
    assert type(automation_client) is dataikuapi.DSSClient
    print(automation_client.api_key)
    return HookResult.success('%s %s' % (automation_client.list_project_keys(), automation_client._session.verify))";
    let python = code_env_with_client();
    let done = Bench::new(code)
        .with(|call| {
            call.python = python;
            call.automation = access(url);
        })
        .run()
        .await;
    assert_eq!(done.report.outcome, HookOutcome::Success("['SALES'] False".to_owned()));
    assert_eq!(done.lines[0].text, "********");
    let head = served.join().unwrap();
    assert!(head.starts_with("GET /dip/publicapi/projects/ "), "{head}");
    // The key is the user name of basic authentication: node-key-1234 and a colon.
    assert!(head.contains("Authorization: Basic bm9kZS1rZXktMTIzNDo="), "{head}");
}

#[tokio::test]
async fn a_client_that_can_not_be_had_says_why_when_it_is_used() {
    let code = "def execute(automation_client, deployer_client, attempt, **kwargs):
    print(automation_client is None, repr(deployer_client))
    client = automation_client if attempt == 1 else deployer_client
    return HookResult.success(client.get_instance_info())";
    let folder = tempfile::tempdir().unwrap();
    let python = bare_python(folder.path());
    for (attempt, wanted) in [
        (
            1,
            "automation_client.get_instance_info: the code env 'plain' can't import dataikuapi (No module named 'dataikuapi'): install the package dataiku-api-client there",
        ),
        (2, "deployer_client.get_instance_info: there is no deployer here"),
    ] {
        let done = Bench::new(code)
            .with(|call| {
                call.python.clone_from(&python);
                call.automation = access("http://127.0.0.1:1".to_owned());
                call.arguments.extra.insert("attempt".to_owned(), attempt.into());
            })
            .run()
            .await;
        assert_eq!(done.lines[0].text, "False <deployer_client: not available>");
        let HookOutcome::Raised { exception, message, .. } = &done.report.outcome else { panic!("{:?}", done.report) };
        assert_eq!((exception.as_str(), message.as_str()), ("ClientUnavailable", wanted));
    }
}

#[tokio::test]
async fn what_the_client_itself_lacks_is_named() {
    // A package that needs another one, as dataiku-api-client 15.2.0 needs six.
    let code = "import os, sys
os.mkdir('dataikuapi')
with open('dataikuapi/__init__.py', 'w') as file:
    file.write('import seven_of_nine')
sys.path.insert(0, os.getcwd())
def execute(automation_client, **kwargs):
    return HookResult.success(automation_client.get_instance_info())";
    let done = Bench::new(code).with(|call| call.automation = access("http://127.0.0.1:1".to_owned())).run().await;
    let HookOutcome::Raised { message, .. } = &done.report.outcome else { panic!("{:?}", done.report) };
    let wanted = "can't import dataikuapi (No module named 'seven_of_nine'): it is installed, but the module seven_of_nine that it needs is not";
    assert!(message.contains(wanted), "{message}");
}
