//! Packages on their way to the API: as streams, never in memory as a whole.

use std::path::Path;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::{Client, answer};
use crate::{failure::Failure, half::Half};

const PIECE: usize = 64 << 10;

impl Client {
    /// Uploads a bundle that lies in memory.
    pub(crate) async fn upload(&self, file_name: &str, content: Vec<u8>) -> Result<Value, Failure> {
        let part = Part::bytes(content).file_name(file_name.to_owned());
        self.send_form(Half::Project, Form::new().part("file", part), None).await
    }

    /// Uploads a package from a file; `sent` hears how many bytes more have gone.
    pub(crate) async fn upload_file(
        &self,
        half: Half,
        file: &Path,
        parent: Option<&str>,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<Value, Failure> {
        let unreadable = |error: std::io::Error| Failure::io(format!("{}: {error}", file.display()));
        let open = File::open(file).await.map_err(unreadable)?;
        let length = open.metadata().await.map_err(unreadable)?.len();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("bundle.zip").to_owned();
        let part = Part::stream_with_length(reqwest::Body::wrap_stream(counted(open, sent)), length).file_name(name);
        self.send_form(half, Form::new().part("file", part), parent).await
    }

    async fn send_form(&self, half: Half, form: Form, parent: Option<&str>) -> Result<Value, Failure> {
        let (path, parameter) = half.uploads();
        let mut request = self.http.post(self.url(path)).bearer_auth(&self.key).multipart(form);
        if let Some(parent) = parent {
            request = request.query(&[(parameter, parent)]);
        }
        // However long it takes: the API ends an upload that stalls, and the network one that nobody confirms.
        let response = request.send().await.map_err(|error| answer::unreachable(&error))?;
        let answer = answer::json(response).await?;
        match answer["errors"].get(0) {
            Some(error) => Err(answer::refusal(error)),
            None => Ok(answer),
        }
    }
}

fn counted(file: File, sent: impl Fn(u64) + Send + 'static) -> impl Stream<Item = std::io::Result<Bytes>> {
    ReaderStream::with_capacity(file, PIECE).inspect(move |piece| {
        if let Ok(piece) = piece {
            sent(piece.len() as u64);
        }
    })
}
