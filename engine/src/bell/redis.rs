//! The bell over Redis pub/sub. Whatever goes wrong: connect again, after a pause.

use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use super::News;
use crate::queue::{Pause, connect};

#[derive(Serialize, Deserialize)]
struct Message {
    /// The process that sent it, which has told its own listeners already.
    origin: u64,
    news: News,
}

pub(super) async fn publish(url: String, channel: String, origin: u64, mut news: mpsc::Receiver<News>) {
    let mut pause = Pause::new();
    let mut connection = None;
    while let Some(news) = news.recv().await {
        let Ok(message) = serde_json::to_string(&Message { origin, news }) else { continue };
        if connection.is_none() {
            connection = connect(&url, Duration::from_secs(5)).await.ok();
        }
        let Some(open) = &mut connection else {
            pause.wait().await;
            continue;
        };
        match redis::cmd("PUBLISH").arg(&channel).arg(message).query_async::<()>(open).await {
            Ok(()) => pause = Pause::new(),
            // The queue's ringer tells that Redis is away; once is enough.
            Err(_) => connection = None,
        }
    }
}

pub(super) async fn listen(url: String, channel: String, origin: u64, here: broadcast::Sender<News>) {
    let mut pause = Pause::new();
    loop {
        if let Ok(client) = redis::Client::open(url.as_str())
            && let Ok(mut subscription) = client.get_async_pubsub().await
            && subscription.subscribe(&channel).await.is_ok()
        {
            pause = Pause::new();
            let mut messages = subscription.on_message();
            while let Some(message) = messages.next().await {
                if let Ok(message) = serde_json::from_slice::<Message>(message.get_payload_bytes())
                    && message.origin != origin
                {
                    let _ = here.send(message.news);
                }
            }
        }
        pause.wait().await;
    }
}
