//! Opening connections. Whoever lost one asks anew where to go: sentinels and nodes of a cluster, one after another, until one names a server
//! that takes our writes.

use std::{io, sync::atomic::Ordering, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisResult, Value, aio::MultiplexedConnection,
};

use super::{
    MOST, PATIENCE,
    address::{Redis, Shape},
};

impl Redis {
    /// A connection to the server that takes writes of `list` now, with more patience than the driver's half second.
    pub(crate) async fn connect(&self, list: &str, response: Duration) -> RedisResult<MultiplexedConnection> {
        let open = |server: ConnectionInfo| async move {
            let mut connection = open(server, response).await?;
            probe(&mut connection, list).await?;
            Ok(connection)
        };
        self.first(list, open).await
    }

    /// A subscription of `channel`. A replica hears what its master does, so it is as good.
    pub(crate) async fn subscribe(&self, channel: &str) -> RedisResult<redis::aio::PubSub> {
        let open = |server: ConnectionInfo| async move {
            // The driver's own way has no bound in time.
            let subscribed = async {
                let mut subscription = Client::open(server)?.get_async_pubsub().await?;
                subscription.subscribe(channel).await?;
                Ok(subscription)
            };
            tokio::time::timeout(PATIENCE, subscribed).await.unwrap_or_else(|_| Err(late()))
        };
        self.first(channel, open).await
    }

    /// What `open` brings at the first server that it likes. `key` is one of ours: all of them lie in one slot.
    async fn first<T, F>(&self, key: &str, open: impl Fn(ConnectionInfo) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let asked = match &*self.shape {
            Shape::One(server) => return open(server.clone()).await,
            Shape::Sentinel { sentinels, .. } => sentinels,
            Shape::Cluster(seeds) => seeds,
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % asked.len().max(1);
        let mut failure = None;
        let mut tried = Vec::new();
        for whom in asked.iter().cycle().skip(turn).take(asked.len()) {
            let opened = match tokio::time::timeout(PATIENCE, self.way(whom, key)).await {
                // Most agree, also on one that is gone.
                Ok(Ok(server)) if tried.contains(server.addr()) => continue,
                Ok(Ok(server)) => {
                    tried.push(server.addr().clone());
                    open(server).await
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Err(late()),
            };
            match opened {
                Ok(opened) => return Ok(opened),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| lost("nobody to ask")))
    }

    async fn way(&self, whom: &ConnectionInfo, key: &str) -> RedisResult<ConnectionInfo> {
        match &*self.shape {
            Shape::Sentinel { master, server, .. } => told_by_sentinel(whom, master, server).await,
            _ => told_by_node(whom, key).await,
        }
    }
}

/// Whether writes are taken here: changes nothing, but a replica and a node without the slot refuse it, as does a cluster that is down.
pub(super) async fn probe(connection: &mut MultiplexedConnection, list: &str) -> RedisResult<()> {
    redis::cmd("LTRIM").arg(list).arg(0).arg(MOST - 1).query_async(connection).await
}

async fn open(server: ConnectionInfo, response: Duration) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(response));
    Client::open(server)?.get_multiplexed_async_connection_with_config(&config).await
}

async fn told_by_sentinel(
    sentinel: &ConnectionInfo,
    master: &str,
    server: &ConnectionInfo,
) -> RedisResult<ConnectionInfo> {
    let mut connection = open(sentinel.clone(), PATIENCE).await?;
    let told: Option<(String, u16)> =
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut connection).await?;
    let (host, port) = told.ok_or_else(|| lost("the sentinel knows no master of this name"))?;
    Ok(server.clone().set_addr(moved(server.addr(), host, port)))
}

async fn told_by_node(node: &ConnectionInfo, key: &str) -> RedisResult<ConnectionInfo> {
    let mut connection = open(node.clone(), PATIENCE).await?;
    let slot: i64 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut connection).await?;
    let slots: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
    let (host, port) =
        slots.iter().find_map(|range| owner(range, slot)).ok_or_else(|| lost("nobody holds our slot"))?;
    // A node that does not know its own name is where we asked it.
    let host = match (host, node.addr()) {
        (Some(host), _) => host,
        (None, ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => host.clone(),
        (None, _) => return Err(lost("a node has no name")),
    };
    Ok(node.clone().set_addr(moved(node.addr(), host, port)))
}

/// The master of a range of slots, if ours is among them: first slot, last slot, then the nodes, the master first.
fn owner(range: &[Value], slot: i64) -> Option<(Option<String>, u16)> {
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range else { return None };
    let [host, Value::Int(port), ..] = &master[..] else { return None };
    if !(*first..=*last).contains(&slot) {
        return None;
    }
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok().filter(|host| !host.is_empty() && host != "?"),
        _ => None,
    };
    Some((host, u16::try_from(*port).ok()?))
}

/// The same kind of address, elsewhere.
fn moved(address: &ConnectionAddr, to: String, port: u16) -> ConnectionAddr {
    match address {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: to, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(to, port),
    }
}

fn late() -> redis::RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

fn lost(why: &'static str) -> redis::RedisError {
    io::Error::new(io::ErrorKind::NotFound, why).into()
}
