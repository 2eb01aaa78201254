//! A kubeconfig that holds everything in itself. What would run a program or read a file of the worker's machine is refused by its name.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::secrets::Secret;
use serde_json::{Map, Value};

use super::yaml;

/// What a context of a kubeconfig says.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    pub(super) name: String,
    pub(super) user: String,
    pub(super) server: String,
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) trust_all: bool,
    pub(super) token: Option<Secret>,
    /// The client's certificate, then its key, PEM.
    pub(super) identity: Option<Secret>,
}

/// Fields that are refused, and what stands for them.
const OF_USERS: &[(&str, &str)] = &[
    ("exec", "it runs a program on Slipway's machine. Make a service account in the cluster, and use its token"),
    (
        "auth-provider",
        "it runs a program on Slipway's machine. Make a service account in the cluster, and use its token",
    ),
    ("tokenFile", "it reads a file of Slipway's machine. Write the token itself as token"),
    ("client-certificate", "it reads a file of Slipway's machine. Write its content as client-certificate-data"),
    ("client-key", "it reads a file of Slipway's machine. Write its content as client-key-data"),
    ("username", "API servers no longer let anybody in by password. Use a token, or a certificate"),
    ("password", "API servers no longer let anybody in by password. Use a token, or a certificate"),
    ("as", "acting as somebody else is not supported"),
];
const OF_CLUSTERS: &[(&str, &str)] = &[
    ("certificate-authority", "it reads a file of Slipway's machine. Write its content as certificate-authority-data"),
    ("proxy-url", "proxies are not supported"),
    ("tls-server-name", "another name than the server's own is not supported"),
];

/// Of a name no more is told, in characters.
const LONGEST_NAME: usize = 100;

/// Reads the context of this name, or the current one. The error is a sentence for the user, without the text's own words but names.
pub(super) fn read(text: &Secret, context: Option<&str>) -> Result<Context, String> {
    let mut documents = yaml::documents(text.expose()).map_err(|error| format!("The kubeconfig {error}."))?;
    let (Some(Value::Object(config)), true) = (documents.pop(), documents.is_empty()) else {
        return Err("The kubeconfig must be one YAML document with clusters, users and contexts.".to_owned());
    };
    let name = match context.filter(|name| !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => text_of(&config, "current-context")
            .ok_or("The kubeconfig has no current-context. Name a context in cluster.context.")?,
    };
    let chosen = named(&config, "contexts", "context", &name)?;
    let missing = |what: &str| format!("Context {} of the kubeconfig names no {what}.", shown(&name));
    let cluster = text_of(chosen, "cluster").ok_or_else(|| missing("cluster"))?;
    let user = text_of(chosen, "user").ok_or_else(|| missing("user"))?;
    let of_cluster = named(&config, "clusters", "cluster", &cluster)?;
    let of_user = named(&config, "users", "user", &user)?;
    let (cluster_shown, user_shown) = (shown(&cluster), shown(&user));
    refuse(of_cluster, OF_CLUSTERS, &format!("cluster {cluster_shown}"))?;
    refuse(of_user, OF_USERS, &format!("user {user_shown}"))?;

    let data = |map: &Map<String, Value>, key: &str| -> Result<Option<Vec<u8>>, String> {
        let Some(text) = text_of(map, key) else { return Ok(None) };
        let squeezed: String = text.split_whitespace().collect();
        BASE64_STANDARD.decode(squeezed).map(Some).map_err(|_| format!("{key} in the kubeconfig is no base64."))
    };
    let identity = match (data(of_user, "client-certificate-data")?, data(of_user, "client-key-data")?) {
        (Some(certificate), Some(key)) => {
            let both = String::from_utf8([certificate, b"\n".to_vec(), key].concat());
            Some(Secret::from(both.map_err(|_| "The client certificate in the kubeconfig is no PEM.".to_owned())?))
        }
        (None, None) => None,
        _ => {
            return Err(format!(
                "User {user_shown} of the kubeconfig needs both client-certificate-data and client-key-data."
            ));
        }
    };
    let token = text_of(of_user, "token").map(Secret::from);
    if token.is_none() && identity.is_none() {
        return Err(format!("User {user_shown} of the kubeconfig has neither a token nor a client certificate."));
    }
    Ok(Context {
        server: text_of(of_cluster, "server")
            .ok_or_else(|| format!("Cluster {cluster_shown} of the kubeconfig has no server."))?,
        authorities: data(of_cluster, "certificate-authority-data")?,
        trust_all: of_cluster.get("insecure-skip-tls-verify") == Some(&Value::Bool(true)),
        name,
        user,
        token,
        identity,
    })
}

/// A name in the text, as it is told: bounded, and without signs that nobody sees.
fn shown(name: &str) -> String {
    name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect()
}

fn text_of(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn named<'a>(
    config: &'a Map<String, Value>,
    list: &str,
    field: &str,
    name: &str,
) -> Result<&'a Map<String, Value>, String> {
    let all = config.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name));
    found
        .and_then(|one| one.get(field)?.as_object())
        .ok_or_else(|| format!("The kubeconfig has no {field} named {}.", shown(name)))
}

fn refuse(map: &Map<String, Value>, refused: &[(&str, &str)], whose: &str) -> Result<(), String> {
    match refused.iter().find(|(key, _)| map.contains_key(*key)) {
        None => Ok(()),
        Some((key, why)) => Err(format!("The kubeconfig's {whose} uses {key}, which is refused: {why}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, user: &str) -> Secret {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: main\ncontexts:\n- name: main\n  context: {{cluster: c, user: u}}\n- name: broken\n  context: {{cluster: other, user: u}}\nclusters:\n- name: c\n  cluster: {{server: 'https://10.0.0.1:6443'{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n"
        );
        Secret::from(text)
    }

    #[test]
    fn a_context_is_read() {
        let ca = BASE64_STANDARD.encode("CA");
        let read = read(&config(&format!(", certificate-authority-data: {ca}"), "token: t0k3n"), None).unwrap();
        assert_eq!((read.server.as_str(), read.authorities.as_deref()), ("https://10.0.0.1:6443", Some(&b"CA"[..])));
        assert_eq!(read.token.unwrap().expose(), "t0k3n");
        let pair = format!("client-certificate-data: {ca}, client-key-data: {ca}");
        assert_eq!(super::read(&config("", &pair), Some("main")).unwrap().identity.unwrap().expose(), "CA\nCA");
    }

    #[test]
    fn what_runs_or_reads_is_refused_by_name() {
        let users = [
            "exec: {command: aws}",
            "auth-provider: {name: gcp}",
            "tokenFile: /etc/passwd",
            "client-certificate: /etc/passwd",
            "client-key: /etc/passwd",
            "username: a, password: b",
            "token: s3cr3t, as: root",
        ];
        for user in users {
            let key = if user.ends_with("root") { "as" } else { user.split(':').next().unwrap() };
            let error = read(&config("", user), None).unwrap_err();
            assert!(error.contains(&format!("uses {key},")) && !error.contains("s3cr3t"), "{error}");
        }
        for (key, cluster) in
            [("certificate-authority", ", certificate-authority: /etc/passwd"), ("proxy-url", ", proxy-url: http://p")]
        {
            assert!(read(&config(cluster, "token: t"), None).unwrap_err().contains(key));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (context, user, said) in [
            (Some("other"), "token: t", "no context named other"),
            (Some("broken"), "token: t", "no cluster named other"),
            (None, "name: x", "neither a token"),
            (None, "client-key-data: QQ==", "needs both"),
        ] {
            let error = read(&config("", user), context).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(read(&Secret::from("[]".to_owned()), None).unwrap_err().contains("one YAML document"));
        assert!(read(&Secret::from("a: *b".to_owned()), None).unwrap_err().contains("no YAML"));
    }
}
