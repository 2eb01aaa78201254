//! A TCP proxy that can be told to misbehave: it stands before PostgreSQL, Redis or a node, and nobody behind it knows.
//!
//! What it does to connections is a level, not an act ([`Rules`]): it holds for those that are there and those that come. Only [`Proxy::cut`] is an act.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// The most that a black hole keeps of one direction of one connection; then it takes nothing more.
const KEPT: usize = 1 << 20;
/// The most that is remembered of what came late.
const REMEMBERED: usize = 8 << 20;
const PIECE: usize = 16 * 1024;

/// What a proxy does to its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How the connections fare.
    pub mode: Mode,
    /// Each piece waits so long on its way to the server.
    pub to_server: Duration,
    /// Each piece waits so long on its way to the client.
    pub to_client: Duration,
}

/// How connections fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes through.
    #[default]
    Pass,
    /// New connections are reset at once; those that are there go on.
    Refuse,
    /// Connections are accepted and nothing goes through, either way. What was kept goes on its way when this ends, also if its sender has gone.
    Hole,
}

/// A proxy on a free port of 127.0.0.1. Dropping it resets all that goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    rules: watch::Sender<Rules>,
    /// Resets every connection that was made under it.
    cut: Mutex<CancellationToken>,
    over: CancellationToken,
    late: Mutex<Vec<u8>>,
    /// The client's word that makes this a black hole.
    trap: Mutex<Option<&'static [u8]>>,
}

impl Proxy {
    /// Starts one before `target`.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let over = CancellationToken::new();
        let shared = Arc::new(Shared {
            target,
            rules: watch::Sender::new(Rules::default()),
            cut: Mutex::new(over.child_token()),
            over,
            late: Mutex::default(),
            trap: Mutex::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// Before a server of this machine.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub async fn before(port: u16) -> io::Result<Self> {
        Self::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on; a trap is none any more.
    pub fn set(&self, rules: Rules) {
        *lock(&self.shared.trap) = None;
        self.shared.rules.send_replace(rules);
    }

    /// As if it were not there.
    pub fn pass(&self) {
        self.set(Rules::default());
    }

    /// As [`Mode::Refuse`].
    pub fn refuse(&self) {
        self.set(Rules { mode: Mode::Refuse, ..Rules::default() });
    }

    /// As [`Mode::Hole`].
    pub fn black_hole(&self) {
        self.set(Rules { mode: Mode::Hole, ..Rules::default() });
    }

    /// As [`Mode::Hole`], from the moment on at which a client says this; and that is the first thing that the hole keeps.
    pub fn trap(&self, word: &'static [u8]) {
        *lock(&self.shared.trap) = Some(word);
    }

    /// Waits until a trap has sprung, or a black hole was made otherwise.
    pub async fn sprung(&self) {
        let gone = self.shared.rules.subscribe().wait_for(|rules| rules.mode == Mode::Hole).await.is_err();
        debug_assert!(!gone, "the sender lives in self");
    }

    /// Each piece waits so long, each way.
    pub fn delay(&self, by: Duration) {
        self.set(Rules { to_server: by, to_client: by, ..Rules::default() });
    }

    /// Resets every connection that is there; what a black hole kept of them is lost.
    pub fn cut(&self) {
        let fresh = self.shared.over.child_token();
        std::mem::replace(&mut *lock(&self.shared.cut), fresh).cancel();
    }

    /// What black holes kept of the clients' words and passed on when they ended, since this was asked last.
    pub fn take_late(&self) -> Vec<u8> {
        std::mem::take(&mut *lock(&self.shared.late))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.over.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) if shared.rules.borrow().mode == Mode::Refuse => reset(&client),
            Ok((client, _)) => {
                let cut = lock(&shared.cut).clone();
                tokio::spawn(carry(client, Arc::clone(&shared), cut));
            }
            Err(error) => {
                tracing::debug!(%error, "a proxy could not accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Dropped after this, the peer sees a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a proxied connection could not be reset");
    }
}

/// One connection, from the client's accept to its end.
async fn carry(client: TcpStream, shared: Arc<Shared>, cut: CancellationToken) {
    let mut rules = shared.rules.subscribe();
    tokio::select! {
        () = cut.cancelled() => return reset(&client),
        // A connection into a hole reaches the server when the hole ends.
        _ = rules.wait_for(|rules| rules.mode != Mode::Hole) => {}
    }
    let connected = tokio::select! {
        () = cut.cancelled() => return reset(&client),
        connected = TcpStream::connect(shared.target) => connected,
    };
    let Ok(server) = connected else { return reset(&client) };
    for stream in [&client, &server] {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a proxied connection may be slow");
        }
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut there = Pipe::new(from_client, to_server, &shared, Way::ToServer);
    let mut back = Pipe::new(from_server, to_client, &shared, Way::ToClient);
    let whole = tokio::select! {
        () = cut.cancelled() => false,
        both = async { tokio::try_join!(there.run(), back.run()) } => both.is_ok(),
    };
    if !whole {
        for Pipe { to, .. } in [there, back] {
            reset(to.as_ref());
            // Dropped, it would say an orderly end first.
            to.forget();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// One direction of one connection.
struct Pipe {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    rules: watch::Receiver<Rules>,
    shared: Arc<Shared>,
    way: Way,
    kept: Vec<u8>,
    ended: bool,
    /// It ended with a reset.
    broken: bool,
    /// A hole kept this.
    late: bool,
}

impl Pipe {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Arc<Shared>, way: Way) -> Self {
        let rules = shared.rules.subscribe();
        Self {
            from,
            to,
            rules,
            shared: Arc::clone(shared),
            way,
            kept: Vec::new(),
            ended: false,
            broken: false,
            late: false,
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let rules = *self.rules.borrow_and_update();
            if rules.mode == Mode::Hole {
                self.late = true;
            } else if !self.kept.is_empty() {
                self.pass_on(rules).await?;
                continue;
            } else if self.broken {
                return Err(io::ErrorKind::ConnectionReset.into());
            } else if self.ended {
                return self.to.shutdown().await;
            } else {
                self.late = false;
            }
            let room = !self.ended && self.kept.len() < KEPT;
            tokio::select! {
                changed = self.rules.changed() => if changed.is_err() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                },
                read = self.from.read(&mut piece), if room => match read {
                    Ok(0) => self.ended = true,
                    Ok(count) => {
                        self.kept.extend_from_slice(&piece[..count]);
                        self.spring();
                    }
                    // What it said before still arrives.
                    Err(_) => (self.ended, self.broken) = (true, true),
                },
            }
        }
    }

    fn spring(&self) {
        let mut trap = lock(&self.shared.trap);
        let said = |word: &[u8]| self.kept.windows(word.len()).any(|part| part == word);
        if self.way == Way::ToServer && trap.is_some_and(said) {
            *trap = None;
            self.shared.rules.send_modify(|rules| rules.mode = Mode::Hole);
        }
    }

    /// Writes what is kept, after its delay, unless the rules change meanwhile.
    async fn pass_on(&mut self, rules: Rules) -> io::Result<()> {
        let delay = if self.way == Way::ToServer { rules.to_server } else { rules.to_client };
        if !delay.is_zero() {
            tokio::select! {
                _ = self.rules.changed() => return Ok(()),
                () = tokio::time::sleep(delay) => {}
            }
        }
        if self.late && self.way == Way::ToServer {
            let mut late = lock(&self.shared.late);
            if late.len() + self.kept.len() <= REMEMBERED {
                late.extend_from_slice(&self.kept);
            }
        }
        self.to.write_all(&self.kept).await?;
        self.kept.clear();
        Ok(())
    }
}
