//! The identity of the machine that this process runs on. It is not an administrator's to send anywhere: only an operator lends it out, and only to the cloud's own
//! addresses and those that the operator names.

use engine::failure::Failure;

use crate::{codes, tools::HostSettings};

/// Longer files hold no token.
pub(crate) const MAX_FILE: u64 = 64 * 1024;

/// Whether the machine's identity may be used at all.
pub(crate) fn lent(host: &HostSettings) -> Result<(), Failure> {
    if host.ambient_cloud_credentials {
        return Ok(());
    }
    let message = "These settings want to use the identity of the machine that Slipway runs on, and its operator does not lend it: choose another way to sign in, or \
                   ask the operator to set ambient_cloud_credentials.";
    Err(Failure::new(codes::AMBIENT_CREDENTIALS_OFF, message))
}

/// Whether it may be sent to this base URL: one of the cloud's own domains over https, or one that the operator named.
pub(crate) fn may_go_to(host: &HostSettings, base: &str, domains: &[&str]) -> Result<(), Failure> {
    let named = host.ambient_endpoints.iter().any(|one| one.trim_end_matches('/') == base.trim_end_matches('/'));
    let cloud = url::Url::parse(base).is_ok_and(|url| {
        let inside = |host: &str| {
            domains
                .iter()
                .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') || rest.is_empty()))
        };
        url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(inside)
    });
    if named || cloud {
        return Ok(());
    }
    let message = format!(
        "The identity of the machine that Slipway runs on is not sent to {base}: that is none of the cloud's own addresses. Clear the connection's endpoint, or ask the operator to \
         name it in ambient_endpoints."
    );
    Err(Failure::new(codes::AMBIENT_CREDENTIALS_OFF, message))
}

/// A small file of the operator's.
pub(crate) async fn file(path: &std::path::Path, what: &str) -> Result<Vec<u8>, Failure> {
    use tokio::io::AsyncReadExt as _;

    let unreadable = |error: std::io::Error| {
        let message = format!("{what} of the machine that Slipway runs on can't be read. Its operator has to look.");
        Failure::new(codes::AMBIENT_CREDENTIALS_MISSING, message).detail(error.to_string())
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).await.map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_the_cloud_or_the_operator_says() {
        let mut host = HostSettings::default();
        assert_eq!(lent(&host).unwrap_err().code, codes::AMBIENT_CREDENTIALS_OFF);
        host.ambient_cloud_credentials = true;
        assert!(lent(&host).is_ok());
        host.ambient_endpoints = vec!["http://127.0.0.1:1/".to_owned()];
        let domains = ["azure.com", "azurecr.io"];
        for fine in ["https://management.azure.com", "https://team.azurecr.io", "http://127.0.0.1:1"] {
            assert!(may_go_to(&host, fine, &domains).is_ok(), "{fine}");
        }
        for bad in [
            "http://management.azure.com",
            "https://evilazure.com",
            "https://azure.com.evil.example",
            "https://management.azure.com:8443",
            "http://127.0.0.1:2",
            "https://evil.example/azure.com",
            "nothing",
        ] {
            assert!(may_go_to(&host, bad, &domains).is_err(), "{bad}");
        }
    }
}
