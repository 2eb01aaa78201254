//! Query events on their way: to a real Event Server, to Kafka, to log files.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
};

use engine::{failure::Failure, secrets::Secret};
use targets::{
    http::{BlockList, Http, HttpSettings},
    query_log::{Bounds, Emitter, QueryLogMetrics, Surroundings},
    secret_ref::SecretRef,
    service::{Auditing, Sasl},
};
use tests::{PATIENCE, in_time, kin::Certificates, until_true};
use tokio::net::TcpListener;

use super::*;

fn http_with(blocked: BlockList) -> Http {
    Http::new(HttpSettings { blocked, ..HttpSettings::default() }).unwrap()
}

fn reference(id: &str) -> Option<SecretRef> {
    Some(SecretRef { id: id.to_owned() })
}

/// An emitter as settings say; the one secret is `secret`.
fn emitter(auditing: &Auditing, http: &Http, logs: &Path, secret: &str) -> Result<(Emitter, QueryLogMetrics), Failure> {
    let surroundings = Surroundings { http, logs };
    let (outlet, key) =
        surroundings.open(auditing, |wanted| (wanted.id == "1").then(|| Secret::new(secret.to_owned())))?;
    let metrics = QueryLogMetrics::default();
    let bounds = Bounds { linger: Duration::from_millis(20), batch_events: 50, ..Bounds::default() };
    Ok((Emitter::start(outlet, key, "churn-prod", bounds, metrics.clone()), metrics))
}

fn to_server(url: String) -> Auditing {
    Auditing::EventServer {
        url,
        key: reference("1"),
        key_variable: None,
        routing_key: "churn-prod".to_owned(),
        trust_all_certificates: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_reaches_the_event_server_once_though_it_is_killed() {
    let ground = Ground::new();
    let server = ground.serve().await;
    let (http, port) = (http_with(BlockList::default()), server.port);
    let auditing = to_server(format!("http://127.0.0.1:{port}"));
    let (emitter, metrics) = emitter(&auditing, &http, ground.scratch.path(), &ground.key).unwrap();
    let emit = |numbers: std::ops::Range<i64>| {
        numbers.for_each(|n| emitter.emit(&json!({ "msgType": "prediction-query", "n": n })));
    };
    emit(0..200);
    until_true("the first events", PATIENCE, || async { metrics.sent() > 0 }).await;
    server.process.kill().await.unwrap();
    emit(200..400);
    let again = ground.slipway.serve("again", &["event-server"], Some(port), &[]).await.unwrap();
    emit(400..600);
    assert_eq!(emitter.close(PATIENCE).await, 0);
    assert_eq!(metrics.sent(), 600);
    let filed = ground.filed();
    let mut numbers: Vec<i64> =
        filed.values().flatten().map(|line| line["clientEvent"]["n"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
    assert!(filed.keys().all(|folder| folder.starts_with("apinode-query/churn-prod/")), "{:?}", filed.keys());
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_dropped_and_counted() {
    let ground = Ground::new();
    let server = ground.serve().await;
    let free = http_with(BlockList::default());
    let (wrong, metrics) =
        emitter(&to_server(format!("http://127.0.0.1:{}", server.port)), &free, ground.scratch.path(), "slev_wrong")
            .unwrap();
    wrong.emit(&json!({}));
    until_true("a refusal", PATIENCE, || async { metrics.dropped("refused") == 1 }).await;
    assert_eq!(wrong.close(PATIENCE).await, 0);

    let opened = |url: &str| emitter(&to_server(url.to_owned()), &free, ground.scratch.path(), "x").map(drop);
    assert_eq!(opened("http://169.254.169.254/").unwrap_err().code.as_str(), "NODE_ADDRESS_FORBIDDEN");
    assert_eq!(opened("ftp://x/").unwrap_err().code.as_str(), "NODE_URL_INVALID");
    let nobody = Auditing::EventServer {
        url: "http://x/".to_owned(),
        key: reference("2"),
        key_variable: None,
        routing_key: "k".to_owned(),
        trust_all_certificates: false,
    };
    let missing = emitter(&nobody, &free, ground.scratch.path(), "x").map(drop).unwrap_err();
    assert!(missing.code.as_str() == "QUERY_LOG_INVALID" && missing.message.contains("auditing.key"), "{missing}");

    let narrow = http_with(BlockList::parse(["127.0.0.0/8", "::1"]).unwrap());
    let url = format!("http://localhost:{}", server.port);
    let (blocked, metrics) = emitter(&to_server(url), &narrow, ground.scratch.path(), &ground.key).unwrap();
    blocked.emit(&json!({}));
    until_true("a refusal", PATIENCE, || async { metrics.dropped("refused") == 1 }).await;
    assert!(ground.filed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn log_files_lie_in_a_folder_of_their_routing_key() {
    let scratch = Scratch::new("query-log");
    let auditing = Auditing::LogFiles { routing_key: "../churn".to_owned() };
    let http = http_with(BlockList::default());
    let (emitter, metrics) = emitter(&auditing, &http, &scratch.path().join("logs"), "").unwrap();
    (0..120).for_each(|n| emitter.emit(&json!({ "n": n })));
    assert_eq!(emitter.close(PATIENCE).await, 0);
    assert_eq!(metrics.sent(), 120);
    let text = fs::read_to_string(scratch.path().join("logs/%2E.%2Fchurn/queries.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 120);
    assert_eq!(lines[7], json!({ "topic": "apinode-query", "routingKey": "../churn", "clientEvent": { "n": 7 } }));
}

/// The mock cluster of librdkafka, in a process of its own.
struct Cluster {
    process: Child,
    commands: ChildStdin,
    answers: mpsc::Receiver<Value>,
    brokers: Vec<String>,
}

/// The interpreter of a code env with librdkafka's client, and the server's side of SCRAM.
fn python_with_kafka() -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/code-env");
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/kafka-env");
    let out = Command::new(script)
        .args([folder, &slipway::python(), "confluent-kafka==2.16.1 scramp==1.5.0"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

impl Cluster {
    async fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|each| (*each).to_owned()).collect();
        let (process, commands, answers) = tokio::task::spawn_blocking(move || {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/events/kafka.py");
            let mut command = Command::new(python_with_kafka());
            command.arg(script).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
            let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let (commands, said) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
            let (tell, answers) = mpsc::channel();
            std::thread::spawn(move || {
                for line in said.lines().map_while(Result::ok) {
                    if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                        break;
                    }
                }
            });
            (process, commands, answers)
        })
        .await
        .unwrap();
        let mut cluster = Self { process, commands, answers, brokers: Vec::new() };
        let brokers = cluster.answer();
        cluster.brokers = brokers.as_array().unwrap().iter().map(|each| each.as_str().unwrap().to_owned()).collect();
        cluster
    }

    fn answer(&mut self) -> Value {
        self.answers.recv_timeout(PATIENCE).expect("an answer of the mock cluster")
    }

    fn ask(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        self.commands.flush().unwrap();
        self.answer()
    }

    /// Every event that came, by its number; each record is looked at.
    fn consumed(&mut self, topic: &str, count: usize) -> Vec<i64> {
        let records = self.ask(&format!("consume {topic} {count}"));
        let records = records.as_array().unwrap().clone();
        let first = records[0]["partition"].clone();
        let mut numbers = Vec::new();
        for record in &records {
            assert_eq!((&record["key"], &record["partition"]), (&json!("churn-prod"), &first), "{record}");
            assert_eq!(record["headers"]["batchId"].as_str().unwrap().len(), 32);
            let value = &record["value"];
            assert_eq!((&value["topic"], &value["routingKey"]), (&json!("apinode-query"), &json!("churn-prod")));
            numbers.push(value["clientEvent"]["n"].as_i64().unwrap());
        }
        numbers
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn to_kafka(brokers: &[String], sasl: Sasl, authorities: Option<String>) -> Auditing {
    Auditing::Kafka {
        key_variable: None,
        brokers: brokers.to_vec(),
        topic: "queries".to_owned(),
        tls: authorities.is_some(),
        sasl,
        username: (sasl != Sasl::None).then(|| "ada".to_owned()),
        password: (sasl != Sasl::None).then(|| SecretRef { id: "1".to_owned() }),
        routing_key: "churn-prod".to_owned(),
        certificate_authorities: authorities,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_kafka_in_order() {
    let mut cluster = Cluster::start(&["3"]).await;
    assert_eq!(cluster.ask("topic queries"), 4);
    let scratch = Scratch::new("kafka");
    let http = http_with(BlockList::default());
    let (emitter, metrics) = emitter(&to_kafka(&cluster.brokers, Sasl::None, None), &http, scratch.path(), "").unwrap();
    (0..120).for_each(|n| emitter.emit(&json!({ "n": n })));
    assert_eq!(in_time("the end", emitter.close(PATIENCE)).await, 0);
    assert_eq!(metrics.sent(), 120);
    assert_eq!(cluster.consumed("queries", 120), (0..120).collect::<Vec<_>>());
}

/// TLS, and a login that a library of other people judges; then produced and consumed.
async fn signed_in(sasl: Sasl, mechanism: &str, over_tls: bool) {
    let scratch = Scratch::new("kafka");
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.at("127.0.0.1.pem"), certificates.at("127.0.0.1.key"));
    let authority = |certificates: &Certificates| String::from_utf8(certificates.read("ca.pem")).unwrap();
    let files = if over_tls { vec![certificate.as_str(), key.as_str()] } else { Vec::new() };
    let mut cluster = Cluster::start(&[&["1", mechanism, "ada", "s3cret,=pass"], files.as_slice()].concat()).await;
    cluster.ask("topic queries");
    let http = http_with(BlockList::default());
    let authorities = over_tls.then(|| authority(&certificates));
    let auditing = to_kafka(&cluster.brokers, sasl, authorities);
    let (good, metrics) = emitter(&auditing, &http, scratch.path(), "s3cret,=pass").unwrap();
    (0..60).for_each(|n| good.emit(&json!({ "n": n })));
    assert_eq!(in_time("the end", good.close(PATIENCE)).await, 0);
    assert_eq!(metrics.sent(), 60);
    assert_eq!(cluster.consumed("queries", 60), (0..60).collect::<Vec<_>>());
    assert_eq!(cluster.ask("refused"), 0);
    if sasl != Sasl::None {
        let (wrong, metrics) = emitter(&auditing, &http, scratch.path(), "another").unwrap();
        wrong.emit(&json!({ "n": 60 }));
        until_true("a refusal", PATIENCE, || {
            let refused = cluster.ask("refused") != 0;
            async move { refused }
        })
        .await;
        assert_eq!((metrics.sent(), wrong.close(Duration::ZERO).await), (0, 1));
    }
    if over_tls {
        // Another authority than the broker's.
        let auditing = to_kafka(&cluster.brokers, sasl, Some(authority(&Certificates::new())));
        let (blind, metrics) = emitter(&auditing, &http, scratch.path(), "s3cret,=pass").unwrap();
        blind.emit(&json!({ "n": 61 }));
        assert_eq!((in_time("the end", blind.close(Duration::from_secs(3))).await, metrics.sent()), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_signed_in_to_with_scram_over_tls() {
    signed_in(Sasl::ScramSha512, "SCRAM-SHA-512", true).await;
    signed_in(Sasl::ScramSha256, "SCRAM-SHA-256", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_signed_in_to_with_the_password_itself_over_tls() {
    signed_in(Sasl::Plain, "PLAIN", true).await;
    signed_in(Sasl::None, "NONE", true).await;
}

/// What a hostile broker says of its cluster may lead anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn no_broker_leads_to_a_forbidden_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
    let scratch = Scratch::new("kafka");
    let narrow = http_with(BlockList::parse(["127.0.0.0/8", "::1"]).unwrap());
    let broker = [format!("localhost:{}", address.port())];
    let (blocked, metrics) = emitter(&to_kafka(&broker, Sasl::None, None), &narrow, scratch.path(), "").unwrap();
    blocked.emit(&json!({}));
    until_true("a refusal", PATIENCE, || async { metrics.dropped("refused") == 1 }).await;
    let nobody = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err(), "somebody connected");
}
