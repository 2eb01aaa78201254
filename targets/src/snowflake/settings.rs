//! What a connection says.

use serde::Deserialize;

use crate::secret_ref::SecretRef;

/// As `connection.json` describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct ConnectionSettings {
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) method: Method,
    pub(crate) private_key: Option<SecretRef>,
    pub(crate) passphrase: Option<SecretRef>,
    pub(crate) token: Option<SecretRef>,
    pub(crate) registry_password: Option<SecretRef>,
    pub(crate) account_url: String,
    pub(crate) registry_host: String,
}

/// How the user signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Method {
    #[default]
    KeyPair,
    Oauth,
    ProgrammaticAccessToken,
}

impl Method {
    /// What Snowflake calls the kind of token.
    pub(crate) fn token_type(self) -> &'static str {
        match self {
            Self::KeyPair => "KEYPAIR_JWT",
            Self::Oauth => "OAUTH",
            Self::ProgrammaticAccessToken => "PROGRAMMATIC_ACCESS_TOKEN",
        }
    }
}

impl ConnectionSettings {
    /// What is missing, by path.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        let mut needs = |name, there: bool| {
            if !there {
                missing.push(name);
            }
        };
        needs("account", !self.account.is_empty());
        needs("user", !self.user.is_empty());
        match self.method {
            Method::KeyPair => needs("privateKey", self.private_key.is_some()),
            Method::Oauth | Method::ProgrammaticAccessToken => needs("token", self.token.is_some()),
        }
        missing
    }

    /// Where the account's API is.
    pub(crate) fn base_url(&self) -> String {
        if self.account_url.trim().is_empty() {
            // A host name has no underscores; Snowflake answers to hyphens as well.
            format!("https://{}.snowflakecomputing.com", self.account.to_lowercase().replace('_', "-"))
        } else {
            self.account_url.trim().to_owned()
        }
    }

    /// What the login of the image repository is.
    pub(crate) fn registry_secret(&self) -> Option<&SecretRef> {
        let token = self.token.as_ref().filter(|_| self.method == Method::ProgrammaticAccessToken);
        self.registry_password.as_ref().or(token)
    }

    /// Whether the login may be sent there; and if so, whether without TLS.
    pub(crate) fn trusts_registry(&self, host: &str) -> Option<bool> {
        let (host, named) = (host.to_lowercase(), self.registry_host.trim().to_lowercase());
        let (named, plain) = named.strip_prefix("http://").map_or((named.as_str(), false), |rest| (rest, true));
        if !named.is_empty() && host == named {
            return Some(plain);
        }
        let own = [".snowflakecomputing.com", ".snowflakecomputing.cn"];
        (!host.contains(':') && own.iter().any(|domain| host.ends_with(domain))).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> ConnectionSettings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_schema_and_the_settings_are_the_same() {
        let schema: Value = serde_json::from_str(include_str!("connection.json")).unwrap();
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["title"].is_string() && property["description"].is_string(), "{name}");
            let value = match property["writeOnly"].as_bool() {
                Some(true) => json!({"$secret": "1"}),
                _ => property["enum"].get(0).cloned().unwrap_or(json!("x")),
            };
            read(json!({name.as_str(): value}));
        }
        let known = format!("{:?}", serde_json::from_value::<ConnectionSettings>(json!({"x": 1})));
        for name in schema["properties"].as_object().unwrap().keys() {
            assert!(known.contains(name.as_str()), "{name}: {known}");
        }
        assert_eq!(known.matches('`').count() / 2 - 1, schema["properties"].as_object().unwrap().len());
        assert_eq!(read(json!({})), ConnectionSettings::default());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(read(json!({})).missing(), ["account", "user", "privateKey"]);
        let pat = json!({"account": "a", "user": "u", "method": "PROGRAMMATIC_ACCESS_TOKEN"});
        assert_eq!(read(pat).missing(), ["token"]);
    }

    #[test]
    fn places() {
        assert_eq!(read(json!({"account": "My_Org-acct"})).base_url(), "https://my-org-acct.snowflakecomputing.com");
        assert_eq!(read(json!({"account": "a", "accountUrl": "http://localhost:1"})).base_url(), "http://localhost:1");
        let own = read(json!({"registryHost": "http://localhost:5000"}));
        for (host, trusted) in [
            ("org-acct.registry.snowflakecomputing.com", Some(false)),
            ("ORG.registry.Snowflakecomputing.com", Some(false)),
            ("localhost:5000", Some(true)),
            ("localhost", None),
            ("localhost:5001", None),
            ("snowflakecomputing.com.example.org", None),
            ("evilsnowflakecomputing.com", None),
            ("org.registry.snowflakecomputing.com:8443", None),
        ] {
            assert_eq!(own.trusts_registry(host), trusted, "{host}");
        }
    }
}
