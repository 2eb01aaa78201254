//! What the fault proxy does to those who go through it.

use std::{io, time::Duration};

use lab::proxy::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough that what could come would have come.
const SILENCE: Duration = Duration::from_millis(200);

/// A server that answers each piece with the same, and tells what it heard.
async fn echo() -> (u16, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (say, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let say = say.clone();
            tokio::spawn(async move {
                let mut piece = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    let _ = say.send(piece[..count].to_vec());
                    if stream.write_all(&piece[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, heard)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn asks(stream: &mut TcpStream, word: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(word).await?;
    let mut answer = vec![0; word.len()];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let (port, _heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(asks(&mut stream, b"hello").await.unwrap(), b"hello");
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty(), "an orderly end goes through, too");
}

#[tokio::test]
async fn a_cut_resets_those_that_are_there_and_no_others() {
    let (port, _heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let mut stream = connect(&proxy).await;
    asks(&mut stream, b"one").await.unwrap();
    proxy.cut();
    let mut piece = [0; 8];
    let error = timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let mut next = connect(&proxy).await;
    assert_eq!(asks(&mut next, b"two").await.unwrap(), b"two");
}

#[tokio::test]
async fn new_ones_are_refused_and_old_ones_go_on() {
    let (port, _heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let mut old = connect(&proxy).await;
    asks(&mut old, b"one").await.unwrap();
    proxy.refuse();
    let refused = match TcpStream::connect(proxy.address()).await {
        Ok(mut new) => asks(&mut new, b"two").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    assert_eq!(asks(&mut old, b"three").await.unwrap(), b"three");
    proxy.pass();
    assert_eq!(asks(&mut connect(&proxy).await, b"four").await.unwrap(), b"four");
}

#[tokio::test]
async fn a_delay_takes_its_time_each_way() {
    let (port, _heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let mut stream = connect(&proxy).await;
    asks(&mut stream, b"one").await.unwrap();
    proxy.delay(Duration::from_millis(60));
    let began = Instant::now();
    asks(&mut stream, b"two").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_black_hole_keeps_what_it_swallowed_and_passes_it_on_late() {
    let (port, mut heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let mut stream = connect(&proxy).await;
    asks(&mut stream, b"one").await.unwrap();
    heard.recv().await.unwrap();
    proxy.black_hole();
    stream.write_all(b"late").await.unwrap();
    assert!(timeout(SILENCE, heard.recv()).await.is_err(), "nothing goes through");
    // Its sender goes, and what it said arrives all the same.
    drop(stream);
    proxy.pass();
    assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap(), b"late");
    assert_eq!(proxy.take_late(), b"late");
}

#[tokio::test]
async fn a_cut_empties_a_black_hole() {
    let (port, mut heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let mut stream = connect(&proxy).await;
    asks(&mut stream, b"one").await.unwrap();
    heard.recv().await.unwrap();
    proxy.black_hole();
    stream.write_all(b"lost").await.unwrap();
    proxy.cut();
    let mut piece = [0; 8];
    assert!(timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().is_err());
    proxy.pass();
    assert!(timeout(SILENCE, heard.recv()).await.is_err(), "what was cut never arrives");
    assert!(proxy.take_late().is_empty());
}

#[tokio::test]
async fn a_trap_holds_the_word_that_springs_it() {
    let (port, mut heard) = echo().await;
    let proxy = Proxy::before(port).await.unwrap();
    let (mut one, mut other) = (connect(&proxy).await, connect(&proxy).await);
    proxy.trap(b"write");
    assert_eq!(asks(&mut one, b"read").await.unwrap(), b"read");
    assert_eq!(heard.recv().await.unwrap(), b"read");
    one.write_all(b"a write").await.unwrap();
    timeout(PATIENCE, proxy.sprung()).await.unwrap();
    other.write_all(b"too late").await.unwrap();
    assert!(timeout(SILENCE, heard.recv()).await.is_err(), "nothing goes through any more");
    proxy.pass();
    let mut late = [heard.recv().await.unwrap(), heard.recv().await.unwrap()];
    late.sort();
    assert_eq!(late, [b"a write".to_vec(), b"too late".to_vec()]);
    assert!(proxy.take_late().windows(5).any(|part| part == b"write"));
}
