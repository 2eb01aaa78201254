//! `slipway login` and `slipway logout`.

use serde_json::json;

use super::prompt;
use crate::{
    args::LoginArgs,
    client::Client,
    commands::say,
    failure::Failure,
    login::{self, Login},
    plain::plain,
};

/// Stores an address and a key, after the API has taken the key.
pub(super) async fn login(args: LoginArgs) -> Result<(), Failure> {
    let url = match args.url.filter(|url| !url.trim().is_empty()) {
        Some(url) => url,
        None => prompt::line("The API's address")?,
    };
    let url = login::address(&url)?;
    if login::is_in_the_clear(&url) {
        crate::tell("the key crosses the network in the clear. Use an address that begins with https://.");
    }
    let key = login::key(&prompt::secret(&format!("An API key for {url}"))?, "What was read")?;
    // Later commands are started in other folders.
    let absolute = |file: &std::path::Path| {
        let unreadable = |error| Failure::refused("CONFIG_UNREADABLE", format!("{}: {error}", file.display()));
        file.canonicalize().map_err(unreadable)
    };
    let login = Login { url, key, ca_file: login::file(args.ca_file.as_ref()).map(absolute).transpose()? };
    let viewer = Client::of(&login)?.run("{ viewer { login } }", json!({})).await?;
    let file = login.store()?;
    let name = plain(viewer["login"].as_str().unwrap_or("-"));
    say(format!("Logged in at {} as {name}; stored in {}.", login.url, file.display()))?;
    let is_set = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    if is_set("SLIPWAY_API_KEY") || is_set("SLIPWAY_API_KEY_FILE") {
        crate::tell("a key is set in the environment, too, and goes before the stored one.");
    }
    Ok(())
}

/// Forgets what is stored.
pub(super) fn logout() -> Result<(), Failure> {
    match Login::forget()? {
        Some(url) => say(format!("Forgot the key for {url}. It goes on working elsewhere until it is revoked.")),
        None => say("You were not logged in."),
    }
}
