//! `slipway node`: nodes that register themselves.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use reqwest::Method;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::{
    args::{Door, NodeCommand, Offer},
    client::Client,
    commands::say,
    failure::Failure,
    login::{self, Login},
    plain::plain,
    tell,
};

/// The longest file of settings that is read, in bytes.
const LONGEST: u64 = 256 << 10;

pub(super) async fn run(command: NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Token { infrastructure, node, expires, output, connect } => {
            let client = Client::of(&Login::find(&connect)?)?;
            let minutes = expires.as_secs().div_ceil(60);
            token(&client, &infrastructure, node.as_deref(), minutes, output.json).await
        }
        NodeCommand::Enroll { token_file, offer, door, output } => {
            let from = "the one-time token (SLIPWAY_ENROLMENT_TOKEN, or --token-file)";
            let token = login::given_secret(login::file(token_file.as_ref()), "SLIPWAY_ENROLMENT_TOKEN", from)?;
            enter(Method::POST, &token, &offer, &door, output.json).await
        }
        NodeCommand::Rotate { offer, door, output } => {
            let credential = credential(&door)?;
            enter(Method::PUT, &credential, &offer, &door, output.json).await
        }
        NodeCommand::Remove { door, output } => {
            let left = door_client(&door, &credential(&door)?)?.fleet(Method::DELETE, &Value::Null).await?;
            let file = &door.credential_file;
            if let Err(error) = fs::remove_file(file) {
                tell(format_args!("the node has left, but {} is still there: {error}", file.display()));
            }
            if output.json {
                return say(left);
            }
            say(format!("{} has left infrastructure {}.", named(&left), text(&left["infrastructureId"])))
        }
    }
}

async fn token(
    client: &Client,
    infrastructure: &str,
    node: Option<&str>,
    minutes: u64,
    as_json: bool,
) -> Result<(), Failure> {
    let document = "mutation($infrastructure: ID!, $node: String, $minutes: Int!) {
  createEnrolmentToken(infrastructureId: $infrastructure, nodeName: $node, expiresInMinutes: $minutes) {
    secret enrolmentToken { id nodeName expiresAt } refusals { code field message } } }";
    let variables = json!({ "infrastructure": infrastructure, "node": node, "minutes": minutes });
    let made = client.run(document, variables).await?;
    if as_json {
        let mut shown = made["enrolmentToken"].clone();
        shown["token"] = made["secret"].clone();
        return say(shown);
    }
    // Alone, for whoever writes it to a file.
    say(text(&made["secret"]))
}

/// Enrolls, or changes what was said. The file for the credential is made before anything is asked: what cannot be kept must not be given out.
async fn enter(method: Method, token: &str, offer: &Offer, door: &Door, as_json: bool) -> Result<(), Failure> {
    let body = body(offer)?;
    let client = door_client(door, token)?;
    let fresh = Fresh::make(&door.credential_file)?;
    let mut entered = client.fleet(method, &body).await?;
    let credential = entered["credential"].take();
    let credential = credential.as_str().ok_or_else(|| {
        Failure::new("ANSWER_INVALID", "The server's answer holds no credential. Is it Slipway's API?")
    })?;
    fresh.keep(credential)?;
    let file = door.credential_file.display();
    if as_json {
        if let Some(entered) = entered.as_object_mut() {
            entered.remove("credential");
            entered.insert("credentialFile".to_owned(), file.to_string().into());
        }
        return say(entered);
    }
    let infrastructure = text(&entered["infrastructureId"]);
    say(format!("{} is a node of infrastructure {infrastructure}. Its credential is in {file}.", named(&entered)))
}

fn body(offer: &Offer) -> Result<Value, Failure> {
    let from = "the node's administrator key (SLIPWAY_NODE_ADMIN_KEY, or --admin-key-file)";
    let key = login::given_secret(login::file(offer.admin_key_file.as_ref()), "SLIPWAY_NODE_ADMIN_KEY", from)?;
    let object = |file: &Option<PathBuf>| file.as_deref().map(read).transpose();
    Ok(json!({
        "nodeId": offer.node_id,
        "url": offer.node_url,
        "externalUrl": offer.external_url,
        "trustAllCertificates": offer.trust_all_certificates,
        "adminKey": key,
        "auditing": object(&offer.auditing)?,
        "logging": object(&offer.logging)?,
    }))
}

fn read(file: &Path) -> Result<Map<String, Value>, Failure> {
    let wrong = |problem: String| Failure::refused("CONFIG_UNREADABLE", format!("{}: {problem}", file.display()));
    let length = fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if length > LONGEST {
        return Err(wrong("it is too long.".to_owned()));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(format!("it is no JSON object: {error}")))
}

fn door_client(door: &Door, token: &str) -> Result<Client, Failure> {
    let url = login::address(&door.url)?;
    if login::is_in_the_clear(&url) {
        tell("this address is not https: the token and the node's key cross the network in the clear.");
    }
    let ca_file = login::file(door.ca_file.as_ref()).map(Path::to_owned);
    Client::of(&Login { url, key: token.to_owned(), ca_file })
}

fn credential(door: &Door) -> Result<String, Failure> {
    login::given_secret(Some(&door.credential_file), "", "the node's credential (--credential-file)")
}

/// A file beside the one for the credential, mode 0600 from the first moment.
struct Fresh {
    file: NamedTempFile,
    place: PathBuf,
}

impl Fresh {
    fn make(place: &Path) -> Result<Self, Failure> {
        if place.is_dir() {
            return Err(Failure::io(format!("{}: this is a folder. Name a file.", place.display())));
        }
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let broken = |error| Failure::io(format!("the folder of {}: {error}", place.display()));
        let mut file = NamedTempFile::new_in(folder).map_err(broken)?;
        // A full disk is found out now.
        file.write_all(&[b'\n'; 128]).and_then(|()| file.as_file().sync_all()).map_err(broken)?;
        Ok(Self { file, place: place.to_owned() })
    }

    fn keep(mut self, credential: &str) -> Result<(), Failure> {
        use std::io::Seek as _;
        let place = self.place.display().to_string();
        let lost = |error: std::io::Error| {
            let message = format!(
                "The node is registered, but its credential could not be kept in {place}: {error}. Register it again with another one-time token."
            );
            Failure::io(message)
        };
        let line = format!("{credential}\n");
        self.file.rewind().map_err(lost)?;
        self.file.write_all(line.as_bytes()).map_err(lost)?;
        self.file.as_file().set_len(line.len() as u64).map_err(lost)?;
        self.file.as_file().sync_all().map_err(lost)?;
        self.file.persist(&self.place).map_err(|error| lost(error.error))?;
        Ok(())
    }
}

/// The node, as people call it.
fn named(entered: &Value) -> String {
    match entered["nodeName"].as_str().or_else(|| entered["nodeId"].as_str()) {
        Some(name) => format!("Node {}", plain(name)),
        None => "The node".to_owned(),
    }
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or("-"))
}
