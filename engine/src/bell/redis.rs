//! The bell over Redis pub/sub. Whatever goes wrong: connect again, after a pause.

use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use super::News;
use crate::queue::{PATIENCE, Pause, Redis};

/// A subscription that hears nothing for so long asks whether the other side is still there.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Message {
    /// The process that sent it, which has told its own listeners already.
    origin: u64,
    news: News,
}

pub(super) async fn publish(server: Redis, channel: String, origin: u64, mut news: mpsc::Receiver<News>) {
    let mut pause = Pause::new();
    let mut connection = None;
    while let Some(first) = news.recv().await {
        let Ok(message) = serde_json::to_string(&Message { origin, news: first }) else { continue };
        if connection.is_none() {
            connection = server.connect(&channel, PATIENCE).await.ok();
        }
        let Some(open) = &mut connection else {
            pause.wait().await;
            // What is old by now was found by looking: who hears of Redis' return wants what is new then.
            while news.try_recv().is_ok() {}
            continue;
        };
        match redis::cmd("PUBLISH").arg(&channel).arg(message).query_async::<()>(open).await {
            Ok(()) => pause = Pause::new(),
            // The queue's ringer tells that Redis is away; once is enough.
            Err(_) => connection = None,
        }
    }
}

pub(super) async fn listen(server: Redis, channel: String, origin: u64, here: broadcast::Sender<News>) {
    let mut pause = Pause::new();
    loop {
        if let Ok(subscription) = server.subscribe(&channel).await {
            pause = Pause::new();
            let (mut asks, mut messages) = subscription.split();
            loop {
                match tokio::time::timeout(SILENCE, messages.next()).await {
                    Ok(Some(message)) => {
                        if let Ok(message) = serde_json::from_slice::<Message>(message.get_payload_bytes())
                            && message.origin != origin
                        {
                            let _ = here.send(message.news);
                        }
                    }
                    Ok(None) => break,
                    // Whoever vanished without a word, or stands still, is silent, too.
                    Err(_) => match tokio::time::timeout(PATIENCE, asks.ping::<redis::Value>()).await {
                        Ok(Ok(_)) => {}
                        _ => break,
                    },
                }
            }
        }
        pause.wait().await;
    }
}
