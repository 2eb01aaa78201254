//! `slipway agent`: takes packages beside an API node.

use std::{sync::Arc, time::Duration};

use ::api::agent::{Agent, AgentSettings, serve_agent};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::{listen, say, signals::Signals};
use crate::{
    args::{AgentArgs, AgentCommand},
    failure::Failure,
};

/// Running uploads get so long when the agent is told to stop. What is cut is resumed.
const DRAIN: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

pub(crate) async fn run(args: AgentArgs) -> Result<(), Failure> {
    if let Some(AgentCommand::NewKey) = args.command {
        return new_key();
    }
    let refused = |code, message: &str, about| Err(Failure::refused(code, message.to_owned()).about(Some(about)));
    let Some(key_sha256) = args.key_sha256.as_deref().and_then(read_hash) else {
        let message = "it must be 64 hexadecimal digits; `slipway agent new-key` prints them";
        return refused("CONFIG_INVALID", message, "key-sha256");
    };
    if !args.listen.ip().is_loopback() && !args.plain_http {
        let message =
            "the agent speaks plain HTTP: put a TLS proxy before it and listen on loopback, or say --plain-http";
        return refused("CONFIG_INVALID", message, "listen");
    }
    let folder = args.folder.unwrap_or_default();
    let settings = AgentSettings {
        folder: folder.clone(),
        key_sha256,
        largest: args.largest.saturating_mul(MIB),
        keep_free: args.keep_free.saturating_mul(MIB),
    };
    let agent = Agent::open(settings).map_err(|error| Failure::io(format!("{}: {error}", folder.display())))?;
    let listener = listen(args.listen, "--listen").await?;
    let mut signals = Signals::listen()?;
    say(format!("Agent at {}, folder {}", listener.local_addr()?, folder.display()))?;
    let stop = CancellationToken::new();
    let serving = serve_agent(listener, Arc::new(agent), stop.clone(), DRAIN);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = signals.next() => stop.cancel(),
    }
    Ok(serving.await?)
}

fn new_key() -> Result<(), Failure> {
    let mut bytes = [0; 32];
    engine::clock::random_bytes(&mut bytes);
    let key = hex(&bytes);
    say(format!("Key, for the infrastructure's settings, shown this once: {key}"))?;
    say(format!("SLIPWAY_AGENT_KEY_SHA256={}", hex(&Sha256::digest(key.as_bytes()))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hash(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate().filter(|_| digits) {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    digits.then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sixty_four_digits() {
        assert_eq!(read_hash(&hex(&[171; 32])), Some([171; 32]));
        assert!(read_hash("ab").is_none() && read_hash(&"zz".repeat(32)).is_none());
    }
}
