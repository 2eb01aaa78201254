//! A practice node that listens.

use crate::practice::Practice;
use crate::serve::Door;
use crate::socket::{PlugAcceptor, Plugs};
use poem::Server;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A node that listens, until it is stopped or dropped.
pub struct Running<N> {
    node: N,
    addr: SocketAddr,
    plugs: Arc<Plugs>,
    stop: CancellationToken,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl<N> Running<N> {
    /// Listens with `core` behind the door; port 0 takes a free one.
    pub(crate) async fn start(node: N, core: Arc<impl Practice>, listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let plugs = Arc::new(Plugs::default());
        let stop = CancellationToken::new();
        core.background(&stop);
        let door = Door { core, plugs: Arc::clone(&plugs), stop: stop.clone() };
        let acceptor = PlugAcceptor { listener, plugs: Arc::clone(&plugs) };
        let signal = stop.clone().cancelled_owned();
        let server = Server::new_with_acceptor(acceptor);
        let task = tokio::spawn(server.run_with_graceful_shutdown(door, signal, Some(Duration::ZERO)));
        Ok(Self { node, addr, plugs, stop, task: Some(task) })
    }

    /// The address to give to a client, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The node itself.
    pub fn node(&self) -> &N {
        &self.node
    }

    fn pull(&self) {
        self.stop.cancel();
        self.plugs.pull_all();
    }
}

impl<N: Clone> Running<N> {
    /// Goes down at once, as a machine does: connections are reset, calls under way end without further effect, the
    /// port is free. The node that is returned knows what it knew, and can be started again.
    pub async fn stop(mut self) -> N {
        self.pull();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the practice node did not end well");
        }
        self.node.clone()
    }
}

impl<N> Drop for Running<N> {
    fn drop(&mut self) {
        self.pull();
    }
}

impl<N> Deref for Running<N> {
    type Target = N;

    fn deref(&self) -> &N {
        &self.node
    }
}
