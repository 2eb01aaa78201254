//! A proxy before PostgreSQL that cuts one connection at one message: before the server has seen it, or after the server has answered it.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::until::{PATIENCE, until_true};

/// On which side of the server's work the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never sees the message.
    Before,
    /// The server has done it; its answer is lost.
    After,
}

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    armed: Arc<Mutex<Option<(&'static str, Cut)>>>,
}

impl Proxy {
    /// A proxy before the server at this port.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn new(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::<Mutex<Option<(&'static str, Cut)>>>::default();
        let shared = Arc::clone(&armed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                    tokio::spawn(pass(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self { port, armed }
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the first connection whose client sends this text.
    ///
    /// # Panics
    /// Never: nobody panics with the lock.
    pub fn arm(&self, text: &'static str, cut: Cut) {
        *self.armed.lock().unwrap() = Some((text, cut));
    }

    /// Whether nothing was cut yet.
    ///
    /// # Panics
    /// As [`Proxy::arm`].
    pub fn is_armed(&self) -> bool {
        self.armed.lock().unwrap().is_some()
    }

    /// Waits until a connection was cut.
    ///
    /// # Panics
    /// When none was in time.
    pub async fn has_cut(&self) {
        until_true("a cut", PATIENCE, || async { !self.is_armed() }).await;
    }
}

async fn pass(client: TcpStream, server: TcpStream, armed: Arc<Mutex<Option<(&'static str, Cut)>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let message = &asked[..read];
                let cut = {
                    let mut armed = armed.lock().unwrap();
                    let holds = |text: &str| message.windows(text.len()).any(|part| part == text.as_bytes());
                    armed.take_if(|(text, _)| holds(text))
                };
                match cut {
                    Some((_, Cut::Before)) => return,
                    Some((_, Cut::After)) => {
                        // Its answer says that it is done. Nobody hears it.
                        if to_server.write_all(message).await.is_ok() {
                            let _ = from_server.read(&mut answered).await;
                        }
                        return;
                    }
                    None => if to_server.write_all(message).await.is_err() { return },
                }
            }
            read = from_server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if to_client.write_all(&answered[..read]).await.is_err() { return }
            }
        }
    }
}
