//! The agent and its client, over a wire that is cut.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sandbox::ServiceSpec as Sample;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::edge::agent::{Agent, AgentSettings, serve_agent};
use super::world::{SERVICE, World, world};
use crate::support::{KEY, Step};

/// The agent is a file of the edge, which no target depends on.
#[path = "../../../../api/src"]
#[expect(unreachable_pub, reason = "it is public where it belongs")]
mod edge {
    pub mod agent;
}

const AGENT_KEY: &str = "s3cret-of-agent";

struct Running {
    addr: SocketAddr,
    _stop: DropGuard,
}

async fn agent(folder: &Path, largest: u64, keep_free: u64) -> Running {
    let key_sha256 = Sha256::digest(AGENT_KEY).into();
    let agent = Agent::open(AgentSettings { folder: folder.to_owned(), key_sha256, largest, keep_free }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve_agent(listener, Arc::new(agent), stop.clone(), Duration::ZERO));
    Running { addr, _stop: stop.drop_guard() }
}

/// Passes bytes on; a connection ends when it has carried so many towards the agent, as often as that is asked.
async fn cutting(to: SocketAddr, after: usize, times: u64) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, left) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(times)));
    let shared = Arc::clone(&left);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let left = Arc::clone(&shared);
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(to).await.unwrap();
                let (mut reader, mut writer) = from.split();
                let (mut answers, mut calls) = onward.split();
                let there = async {
                    let (mut carried, mut piece) = (0, vec![0; 8 * 1024]);
                    loop {
                        let read = reader.read(&mut piece).await.unwrap_or(0);
                        if read == 0 {
                            return;
                        }
                        calls.write_all(&piece[..read]).await.unwrap();
                        carried += read;
                        if carried > after
                            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
                        {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = there => {}
                    _ = tokio::io::copy(&mut answers, &mut writer) => {}
                }
            });
        }
    });
    (addr, left)
}

/// A world whose package is of some size, delivered by an agent at this address.
async fn delivered_by(addr: SocketAddr, world: &mut World) {
    let noise: String = (0..200_000_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let big = Sample::new(SERVICE, "v1").with("noise", json!(noise));
    let version = world.stored(&big, 1.0).await;
    assert!(version.size > 500_000, "{}", version.size);
    world.service().versions = vec![version];
    let delivery = json!({"mode": "AGENT", "url": format!("http://{addr}"), "key": {"$secret": "agent"}});
    world.settings().insert("delivery".into(), delivery);
}

#[tokio::test]
async fn packages_come_by_the_agent_and_go() {
    let mut world = world().await;
    let running = agent(&world.there(), 1 << 30, 0).await;
    delivered_by(running.addr, &mut world).await;
    world.update().await;
    let first = World::files(&world.there());
    assert_eq!(
        (first.len(), &world.on_node()[SERVICE]["generations"][0]["sha256"]),
        (1, &json!(world.service().versions[0].sha256))
    );
    // Damaged since, and wanted again.
    let file = world.there().join(&first[0]);
    let mut damaged = std::fs::read(&file).unwrap();
    damaged[1_000] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let node = world.node.url().trim_start_matches("http://").parse().unwrap();
    let auth = format!("Authorization: Basic {}", BASE64_STANDARD.encode(format!("{KEY}:")));
    assert_eq!(call(node, &format!("DELETE /admin/api/services/{SERVICE}\n{auth}"), b"").await.0, 200);
    world.new_run();
    world.update().await;
    assert_eq!(world.on_node()[SERVICE]["generations"][0]["sha256"], json!(world.service().versions[0].sha256));
    world.new_run();
    world.take(&[("v2", 1.0)]).await;
    world.update().await;
    let second = World::files(&world.there());
    assert!(second.len() == 1 && second != first);
    world.new_run();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(World::files(&world.there()), [""; 0]);
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_from_there() {
    let mut world = world().await;
    let running = agent(&world.there(), 1 << 30, 0).await;
    let (addr, left) = cutting(running.addr, 150_000, 2).await;
    delivered_by(addr, &mut world).await;
    let size = world.service().versions[0].size;
    let part = || {
        let parts: Vec<_> = World::files(&world.there()).into_iter().filter(|name| name.ends_with(".part")).collect();
        parts.first().map_or(0, |name| std::fs::metadata(world.there().join(name)).unwrap().len())
    };
    let mut before = 0;
    for cuts in [1, 0] {
        // An attempt may find the agent still at the broken call; it is one that is worth another, too.
        while left.load(Ordering::SeqCst) > cuts {
            let (failure, retryable) = world.failure(Step::Push).await;
            assert!(retryable, "{failure:?}");
        }
        // The agent keeps what came; it may still be writing.
        let grown = async {
            while part() <= before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), grown).await.unwrap();
        before = part();
        assert!(before < size, "{before} {size}");
    }
    world.step(Step::Push).await.unwrap();
    assert_eq!(part(), 0);
    let name = World::files(&world.there()).remove(0);
    let whole = std::fs::read(world.there().join(name)).unwrap();
    let digest: String = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, world.spec.service.as_ref().unwrap().versions[0].sha256);
    world.update().await;
}

#[tokio::test]
async fn what_the_agent_can_not_take_is_told_before_it_is_sent() {
    for (largest, keep_free, says) in [(1_000, 0, "larger than the agent takes"), (1 << 40, u64::MAX, "no room")] {
        let mut world = world().await;
        let running = agent(&world.there(), largest, keep_free).await;
        delivered_by(running.addr, &mut world).await;
        let (failure, _) = world.failure(Step::Validate).await;
        assert!(failure.code.as_str() == "DELIVERY_FAILED" && failure.message.contains(says), "{failure:?}");
        assert_eq!(world.failure(Step::Push).await.0.code.as_str(), "DELIVERY_FAILED");
    }
    // Another key, and something else altogether.
    let mut world = world().await;
    let running = agent(&world.there(), 1 << 30, 0).await;
    delivered_by(running.addr, &mut world).await;
    world.settings()["delivery"]["key"] = json!({"$secret": "another"});
    assert_eq!(world.failure(Step::Validate).await.0.code.as_str(), "NODE_KEY_REJECTED");
    world.settings()["delivery"]["url"] = json!(world.node.url());
    let (failure, _) = world.failure(Step::Validate).await;
    assert!(["NODE_NOT_FOUND", "NODE_ANSWER_NOT_JSON"].contains(&failure.code.as_str()), "{failure:?}");
}

/// One call, with a body; status and answer.
async fn call(addr: SocketAddr, head: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|header| format!("{}\r\n", header.trim())).collect();
    let head =
        format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refusal may come before all was taken.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn the_agent_takes_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let running = agent(folder.path(), 1_000, 0).await;
    let (addr, content) = (running.addr, b"0123456789");
    let sha: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("slipway-{}-{sha}.zip", "0".repeat(12));
    let auth = format!("Authorization: Bearer {AGENT_KEY}");
    let put = |range: &str, sha: &str| {
        format!("PUT /agent/v1/files/{name}\n{auth}\nContent-Range: {range}\nX-Slipway-Sha256: {sha}")
    };
    assert_eq!(call(addr, "GET /healthz", b"").await.0, 200);
    for key in ["", "Authorization: Bearer wrong", "Authorization: Basic wrong"] {
        for path in ["/agent/v1", "/agent/v1/files", "/nothing", &format!("/agent/v1/files/{name}")] {
            let (status, said) = call(addr, &format!("GET {path}\n{key}"), b"").await;
            assert_eq!((status, &said["code"]), (401, &json!("KEY_REJECTED")), "{path}");
        }
    }
    for bad in ["..%2f..%2fetc%2fpasswd", "x.zip", ".part", "slipway-.zip"] {
        let (status, said) = call(addr, &format!("PUT /agent/v1/files/{bad}\n{auth}"), b"x").await;
        assert_eq!((status, &said["code"]), (400, &json!("NAME_INVALID")), "{bad}");
    }
    let table = [
        (put("bytes 0-4/10", &sha), &content[..5], 400, "RANGE_INVALID"),
        (put("bytes 0-9/10", "00"), content, 400, "CHECKSUM_INVALID"),
        (put("bytes 4-9/10", &sha), &content[4..], 409, "RANGE_DIFFERS"),
        (put("bytes 0-1999/2000", &sha), content, 413, "FILE_TOO_LARGE"),
        (put("bytes 0-4/5", &sha), content, 400, "TOO_MUCH"),
    ];
    for (head, body, status, code) in table {
        let (was, said) = call(addr, &head, body).await;
        assert_eq!((was, &said["code"]), (status, &json!(code)));
        call(addr, &format!("DELETE /agent/v1/files/{name}\n{auth}"), b"").await;
    }
    // Damaged on its way: refused, and begun anew.
    let (status, said) = call(addr, &put("bytes 0-9/10", &sha), b"012345678x").await;
    assert_eq!((status, &said["code"]), (422, &json!("CHECKSUM_DIFFERS")));
    assert_eq!(World::files(folder.path()), [""; 0]);
    let (status, said) = call(addr, &put("bytes 0-9/10", &sha), content).await;
    assert_eq!((status, said), (200, json!({"received": 10, "complete": true})));
    // Again, whatever the range: it is there.
    assert_eq!(
        call(addr, &put("bytes 4-9/10", &sha), &content[4..]).await.1,
        json!({"received": 10, "complete": true})
    );
    assert_eq!(World::files(folder.path()), std::slice::from_ref(&name));
    // It has changed since: what is there is looked at, and replaced.
    std::fs::write(folder.path().join(&name), b"012345678x").unwrap();
    let (status, said) = call(addr, &put("bytes */10", &sha), b"").await;
    assert_eq!((status, &said["code"]), (409, &json!("RANGE_DIFFERS")));
    let (status, said) = call(addr, &put("bytes 0-9/10", &sha), content).await;
    assert_eq!((status, said), (200, json!({"received": 10, "complete": true})));
    assert_eq!(std::fs::read(folder.path().join(&name)).unwrap(), content);
    let (_, listed) = call(addr, &format!("GET /agent/v1/files\n{auth}"), b"").await;
    assert_eq!(listed, json!({"files": [{"name": name, "received": 10, "complete": true}]}));
    for status in [200, 404] {
        assert_eq!(call(addr, &format!("DELETE /agent/v1/files/{name}\n{auth}"), b"").await.0, status);
    }
}
