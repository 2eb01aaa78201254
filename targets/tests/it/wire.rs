//! HTTP by hand: one request a connection, read whole, hit by a fault, answered, written down.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// As it was sent.
    pub(crate) target: String,
    /// Without its query; each part unescaped.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn place(&self) -> String {
        format!("{} /{}", self.method, self.path.join("/"))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Told {
    /// JSON; null is nothing.
    pub(crate) fn new(status: u16, body: Value) -> Self {
        let json = ("Content-Type".to_owned(), "application/json".to_owned());
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Self { status, headers: vec![json], body }
    }

    /// A content of an image repository.
    pub(crate) fn raw(kind: &str, body: Vec<u8>, digest: &str) -> Self {
        let headers = [("Content-Type", kind), ("Docker-Content-Digest", digest)];
        Self { status: 200, headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), body }
    }
}

/// What answers.
pub(crate) trait Answers: Send + Sync + 'static {
    /// How it words a refusal that it was told to give.
    fn refused(&self, status: u16) -> Value;

    fn answer(&self, asked: &Asked) -> Told;
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This status and no effect, with seconds to wait.
    Status(u16, Option<u64>),
    /// No effect, no answer.
    Reset,
    /// The effect, no answer.
    Lost,
    /// The effect; no answer until the fault is released.
    Held,
    /// The effect, and an answer in pieces.
    Slow,
}

/// A fault that waits for its call.
struct Fault {
    /// The method and path of its call begin so.
    of: &'static str,
    /// So many calls like that come first.
    after: usize,
    kind: Kind,
}

/// A server, and what was asked of it.
pub(crate) struct Server {
    pub(crate) url: String,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    asked: Mutex<Vec<Asked>>,
    fault: Mutex<Option<Fault>>,
    hit: watch::Sender<bool>,
    released: watch::Sender<bool>,
    answers: Arc<dyn Answers>,
}

impl Server {
    pub(crate) async fn start(answers: Arc<dyn Answers>) -> Self {
        Self::start_at(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), answers).await
    }

    /// Where others may have listened before.
    pub(crate) async fn start_at(listener: std::net::TcpListener, answers: Arc<dyn Answers>) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            asked: Mutex::default(),
            fault: Mutex::default(),
            hit: watch::Sender::new(false),
            released: watch::Sender::new(false),
            answers,
        });
        let served = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // What is asked goes on when its client has gone, as it does behind a real address.
                tokio::spawn(Arc::clone(&served).serve(stream));
            }
        });
        Self { url, inner, task }
    }

    /// Everything that was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.inner.asked.lock().unwrap().clear();
        self.inner.fault.lock().unwrap().take();
    }

    /// Of the calls whose method and path begin so, one goes wrong: the one after so many others, counted from now.
    pub(crate) fn arm(&self, of: &'static str, after: usize, kind: Kind) {
        self.inner.hit.send_replace(false);
        self.inner.released.send_replace(false);
        *self.inner.fault.lock().unwrap() = Some(Fault { of, after, kind });
    }

    /// Whether the fault has met its call.
    pub(crate) fn has_met(&self) -> bool {
        *self.inner.hit.borrow()
    }

    /// Waits until it has.
    pub(crate) async fn met(&self) {
        self.inner.hit.subscribe().wait_for(|hit| *hit).await.unwrap();
    }

    /// Lets go of a call that is held.
    pub(crate) fn release(&self) {
        self.inner.released.send_replace(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let Some(asked) = read(&mut stream).await else { return };
        self.asked.lock().unwrap().push(asked.clone());
        let kind = self.pick(&asked);
        let told = match kind {
            Some(Kind::Reset) => {
                self.hit.send_replace(true);
                return;
            }
            Some(Kind::Status(status, wait)) => {
                let mut told = Told::new(status, self.answers.refused(status));
                told.headers.extend(wait.map(|wait| ("Retry-After".to_owned(), wait.to_string())));
                told
            }
            _ => self.answers.answer(&asked),
        };
        if kind.is_some() {
            self.hit.send_replace(true);
        }
        let held = matches!(kind, Some(Kind::Held));
        if held && self.released.subscribe().wait_for(|released| *released).await.is_err() {
            return;
        }
        if matches!(kind, Some(Kind::Lost)) {
            return;
        }
        let mut head =
            format!("HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n", told.status, told.body.len());
        for (name, value) in &told.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut whole = format!("{head}\r\n").into_bytes();
        if asked.method != "HEAD" {
            whole.extend_from_slice(&told.body);
        }
        let piece = if kind == Some(Kind::Slow) { 7 } else { whole.len() };
        for piece in whole.chunks(piece) {
            // The client may be gone.
            if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn pick(&self, asked: &Asked) -> Option<Kind> {
        let mut armed = self.fault.lock().unwrap();
        let fault = armed.as_mut().filter(|fault| asked.place().starts_with(fault.of))?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        armed.take().map(|fault| fault.kind)
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let path = path.trim_start_matches('/').split('/').map(unescaped).collect();
    Some(Asked { method, target: target.clone(), path, query, headers, body })
}

fn unescaped(part: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}
