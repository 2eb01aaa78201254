//! Who a job is, and where its API.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, process::Stdio};

use tests::{Fleet, Size, guard::free_port};

use super::{Ended, Job};

fn login(job: &Job, arguments: &[&str], typed: &str) -> Ended {
    let arguments = [&["login"], arguments].concat();
    let mut command = job.command(&arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may refuse before it reads.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    Ended::of(child.wait_with_output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_checked_stored_for_its_owner_and_forgotten() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let (url, key) = (fleet.client.url(), fleet.client.key());
    let job = Job::new();
    let file = job.scratch.path().join("home/.config/slipway/login.toml");
    let list = ["deployment", "list"];
    job.run(&list).is(2, &["NOT_LOGGED_IN", "slipway login"]);
    // What is wrong is refused, and leaves nothing.
    login(&job, &[url], "slw_12345678_wrong\n").is(2, &["UNAUTHENTICATED"]);
    login(&job, &[url], "").is(2, &["NOT_LOGGED_IN"]);
    login(&job, &["no url"], key).is(2, &["URL_INVALID"]);
    login(&job, &["http://ann:secretword@127.0.0.1"], key).is(2, &["URL_INVALID"]);
    login(&job, &[], key).is(2, &["URL_INVALID"]);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let lost = login(&job, &[&nobody], key);
    lost.is(1, &["SERVER_UNREACHABLE"]);
    assert!(!lost.err.contains(key), "{lost:#?}");
    let elsewhere = login(&job, &[&format!("{url}/elsewhere")], key);
    assert!(elsewhere.code != 0, "{elsewhere:#?}");
    assert!(!file.exists());
    // The key comes from standard input, and is in no argument and no output.
    let done = login(&job, &[&format!("{url}/")], &format!("{key}\n"));
    done.is(0, &["as admin"]);
    assert!(!done.out.contains(key) && !done.err.contains(key), "{done:#?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    job.run(&list).is(0, &["DEPLOYMENT"]);
    // A stored key goes nowhere else; a given one goes before it.
    job.run(&["deployment", "list", "--url", &nobody]).is(2, &["NOT_LOGGED_IN"]);
    job.run(&["deployment", "list", "--url", url]).is(0, &[]);
    let job = job.with("SLIPWAY_API_KEY", "slw_12345678_wrong");
    job.run(&list).is(2, &["NOT_LOGGED_IN", "SLIPWAY_URL"]);
    let job = job.with("SLIPWAY_URL", url);
    job.run(&list).is(2, &["UNAUTHENTICATED"]);
    let key_file = job.scratch.at("key");
    fs::write(&key_file, format!("{key}\n")).unwrap();
    job.run(&["deployment", "list", "--key-file", &key_file]).is(0, &[]);
    let job = job.with("SLIPWAY_API_KEY", "").with("SLIPWAY_API_KEY_FILE", &key_file);
    job.run(&list).is(0, &[]);
    job.run(&["deployment", "list", "--key-file", "nowhere"]).is(2, &["CONFIG_UNREADABLE", "nowhere"]);
    // What others can read is not used.
    let job = job.with("SLIPWAY_API_KEY_FILE", "").with("SLIPWAY_URL", "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    job.run(&list).is(2, &["CONFIG_UNREADABLE", "chmod 600"]);
    fs::write(&file, "url = 3").unwrap();
    job.run(&["logout"]).is(0, &["Forgot"]);
    assert!(!file.exists());
    job.run(&["logout"]).is(0, &["not logged in"]);
    job.run(&list).is(2, &["NOT_LOGGED_IN"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_no_settings_of_a_server() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let job = Job::of(&fleet.client)
        .with("SLIPWAY_CONFIG", "nowhere.toml")
        .with("SLIPWAY_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .with("SLIPWAY_NO_SUCH_SETTING", "x");
    job.run(&["deployment", "list"]).is(0, &["DEPLOYMENT"]);
    // And a server knows a client's variables for what they are.
    let scratch = tests::scratch::Scratch::new("server");
    let database = format!("sqlite://{}", scratch.at("a.db"));
    let server = Job::of(&fleet.client).with("SLIPWAY_DATABASE_URL", &database).with("SLIPWAY_CA_FILE", "x");
    server.with("SLIPWAY_API_KEY_FILE", "y").run(&["migrate"]).is(0, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_and_no_other_program_believed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let redirect = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n";
        let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
        for answer in [redirect, page] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut piece = vec![0; 1 << 16];
            let read = stream.read(&mut piece).await.unwrap();
            asked.send(String::from_utf8_lossy(&piece[..read]).into_owned()).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let job = Job::new().with("SLIPWAY_URL", &url).with("SLIPWAY_API_KEY", "slw_key");
    let run = || tokio::task::block_in_place(|| job.run(&["deployment", "list", "--json"]));
    let redirected = run();
    redirected.is(1, &["ANSWER_INVALID", "redirects are not followed"]);
    assert_eq!(redirected.result()["code"], "ANSWER_INVALID");
    run().is(1, &["ANSWER_INVALID", "Is it the API's?"]);
    assert!(seen.recv().await.unwrap().contains("/graphql"));
}
