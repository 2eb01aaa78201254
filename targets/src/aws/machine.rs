//! The cloud identity of the machine that we run on, where its operator lends it to connections: environment, credentials file, web identity, container, instance.
//!
//! What is read here comes from the operator: nobody who administers a connection types a path or an address of it. The metadata services are in networks that no
//! node may be in, so they are reached with a client of their own.

use std::{path::Path, sync::Arc, time::Duration};

use engine::{failure::Failure, secrets::Secret};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::{
    client::{Account, permanent},
    sts,
    wallet::Keys,
    words::AwsError,
};
use crate::{
    codes,
    http::{Auth, BlockList, CallError, Effect, Exchange, HeaderName, Http, HttpSettings, Method, NodeUrl, Request},
};

const INSTANCE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
/// Where else a container may be told to ask without TLS, beside its own machine.
const CONTAINERS: &[&str] = &["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// A metadata service is near, or it is not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// No metadata service says more, and no file of credentials is longer, in bytes.
const MOST: usize = 256 * 1024;

type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The machine's identity.
#[derive(Clone)]
pub(crate) struct Machine {
    lent: bool,
    environment: Environment,
}

impl Machine {
    pub(super) fn new(lent: bool) -> Self {
        Self { lent, environment: Arc::new(|name| std::env::var(name).ok()) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// Whether the operator lends it.
    pub(super) fn must_be_lent(&self) -> Result<(), Failure> {
        if self.lent {
            return Ok(());
        }
        let message = "The connection wants to use the cloud identity of the machine that Slipway runs on, and the operator does not lend it. Use an access key, or ask the operator to set ambient_cloud_credentials.";
        Err(Failure::new(codes::AWS_IDENTITY_NOT_LENT, message))
    }

    /// An access key out of the shared credentials file.
    pub(super) async fn profile(&self, name: &str) -> Result<Keys, CallError> {
        self.must_be_lent().map_err(permanent)?;
        let file = self.variable("AWS_SHARED_CREDENTIALS_FILE").or_else(|| {
            let home = self.variable("HOME")?;
            Some(format!("{home}/.aws/credentials"))
        });
        let missing = || {
            let message = format!("The machine's credentials file has no access key under the profile {name}.");
            permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message))
        };
        let text = read(Path::new(&file.ok_or_else(missing)?)).await?;
        profile(text.expose(), name).ok_or_else(missing)
    }

    /// The identity of the workload: the first that the machine has.
    pub(super) async fn workload(&self, account: &Account) -> Result<Keys, AwsError> {
        self.must_be_lent().map_err(permanent)?;
        if let (Some(id), Some(secret)) = (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            let token = self.variable("AWS_SESSION_TOKEN").map(Secret::from);
            return Ok(Keys { id, secret: Secret::from(secret), token, expires: None });
        }
        if let (Some(file), Some(role)) = (self.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), self.variable("AWS_ROLE_ARN"))
        {
            let token = read(Path::new(&file)).await?;
            let token = Secret::from(token.expose().trim().to_owned());
            let name = self.variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "slipway".to_owned());
            return sts::with_web_identity(account, &role, &name, token).await;
        }
        if let Some(keys) = self.container(account).await? {
            return Ok(keys);
        }
        Ok(self.instance(account).await?)
    }

    /// What a container's credentials service gives (ECS, EKS); None when there is none.
    async fn container(&self, account: &Account) -> Result<Option<Keys>, CallError> {
        let url = match (
            self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => format!("{CONTAINER}{path}"),
            (None, Some(url)) => url,
            (None, None) => return Ok(None),
        };
        let read_url = url::Url::parse(&url).ok().filter(|url| match url.scheme() {
            "https" => true,
            "http" => url.host_str().is_some_and(|host| {
                CONTAINERS.contains(&host)
                    || host == "localhost"
                    || host
                        .trim_matches(['[', ']'])
                        .parse()
                        .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
            }),
            _ => false,
        });
        let Some(url) = read_url else {
            let message = "The machine's AWS_CONTAINER_CREDENTIALS_FULL_URI is no address that credentials may be asked at: https, or the machine itself.";
            return Err(permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message)));
        };
        let token = match self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(Secret::from(read(Path::new(&file)).await?.expose().trim().to_owned())),
            None => self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::from),
        };
        let doing = "asking the container's credentials service";
        let headers: Vec<_> =
            token.into_iter().map(|token| (HeaderName::from_static("authorization"), token)).collect();
        let request = Request { headers: &headers, ..Request::new(Method::GET, &[], doing) };
        let answer = self.ask(account, url, request).await?;
        keys(&answer, doing).map(Some)
    }

    /// What an instance's metadata service gives (version 2: with a token of its own).
    async fn instance(&self, account: &Account) -> Result<Keys, CallError> {
        if self.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            let message = "The machine has no cloud identity: neither environment, web identity nor container, and its metadata service is switched off.";
            return Err(permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message)));
        }
        let base = self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
        let at = |path: &str| {
            url::Url::parse(&format!("{}/latest/{path}", base.trim_end_matches('/'))).map_err(|_| {
                let message = "The machine's AWS_EC2_METADATA_SERVICE_ENDPOINT is no URL.";
                permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message))
            })
        };
        let doing = "asking the instance's metadata service";
        let lifetime =
            [(HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds"), Secret::from("21600".to_owned()))];
        let request = Request { headers: &lifetime, ..Request::new(Method::PUT, &[], doing) };
        let token = self.ask(account, at("api/token")?, request).await?;
        let token = Secret::from(String::from_utf8_lossy(&token.body).trim().to_owned());
        let headers = [(HeaderName::from_static("x-aws-ec2-metadata-token"), token)];
        let get = || Request { headers: &headers, ..Request::new(Method::GET, &[], doing) };
        let roles = self.ask(account, at("meta-data/iam/security-credentials/")?, get()).await?;
        let role = String::from_utf8_lossy(&roles.body).lines().next().unwrap_or_default().trim().to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if role.is_empty() || !role.chars().all(plain) {
            let message = "The instance has no role that could sign in to AWS.";
            return Err(permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message)));
        }
        let answer = self.ask(account, at(&format!("meta-data/iam/security-credentials/{role}"))?, get()).await?;
        keys(&answer, doing)
    }

    /// Asks a service of the machine's. Whatever it says to a refusal may be near to a secret, and is not told.
    async fn ask(&self, account: &Account, url: url::Url, request: Request<'_>) -> Result<Exchange, CallError> {
        let doing = request.doing;
        let settings = HttpSettings {
            blocked: BlockList::new(Vec::new()),
            connect_timeout: PATIENCE,
            call_timeout: PATIENCE,
            answer_limit: MOST,
        };
        let no_client = |error: String| {
            let message = "No HTTP client could be made.";
            permanent(Failure::new(codes::NODE_TLS_FAILED, message).detail(error))
        };
        let http = Http::new(settings).map_err(|error| no_client(error.to_string()))?;
        let mut base = url.clone();
        base.set_path("");
        base.set_query(None);
        let base = NodeUrl::parse(base.as_str(), &http.settings().blocked).map_err(|error| permanent(error.into()))?;
        let node = http.platform("The machine's credentials service", base, Auth::Signed(Vec::new()));
        let answer = node.exchange(Request { at: Some(url), ..request }).await?;
        if answer.succeeded() {
            return Ok(answer);
        }
        tracing::debug!(region = account.region, status = answer.status, "the machine's credentials service refused");
        let message = format!("The machine's credentials service answered status {} ({doing}).", answer.status);
        let code = codes::AWS_CREDENTIALS_INVALID;
        Err(match answer.status {
            429 | 500.. => CallError::retryable(code, message, Effect::None),
            _ => CallError::permanent(code, message, Effect::None),
        })
    }
}

/// The credentials in a metadata service's answer.
fn keys(answer: &Exchange, doing: &str) -> Result<Keys, CallError> {
    let value = answer.value().unwrap_or_default();
    let read = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let expires = read("Expiration").and_then(|end| end.parse::<jiff::Timestamp>().ok());
    match (read("AccessKeyId"), read("SecretAccessKey"), read("Token"), expires) {
        (Some(id), Some(secret), Some(token), Some(end)) => Ok(Keys {
            id,
            secret: Secret::from(secret),
            token: Some(Secret::from(token)),
            expires: Some(end.as_microsecond()),
        }),
        _ => {
            let message = format!("The machine's credentials service gave no credentials ({doing}).");
            Err(permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message)))
        }
    }
}

/// A file of the machine's, bounded.
async fn read(file: &Path) -> Result<Secret, CallError> {
    let unreadable = |why: String| {
        let message = "A file that the machine's AWS identity needs can't be read. Ask the operator.";
        permanent(Failure::new(codes::AWS_CREDENTIALS_INVALID, message).detail(why))
    };
    let opened = tokio::fs::File::open(file).await.map_err(|error| unreadable(error.kind().to_string()))?;
    let mut text = String::new();
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    let read = opened.take(most).read_to_string(&mut text).await;
    let text = Secret::from(text);
    read.map_err(|error| unreadable(error.kind().to_string()))?;
    Ok(text)
}

/// A section of a credentials file.
fn profile(text: &str, name: &str) -> Option<Keys> {
    let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            inside = section.0.trim() == name;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match key.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value.map(Secret::from),
            "aws_session_token" => token = value.map(Secret::from),
            _ => {}
        }
    }
    Some(Keys { id: id?, secret: secret?, token, expires: None })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::{
        super::{Aws, Kind},
        *,
    };
    use crate::{
        spec::ConnectionSpec,
        tools::{HostSettings, Tools},
    };

    fn machine(lent: bool, variables: &[(&str, &str)]) -> Machine {
        let variables: BTreeMap<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Machine { lent, environment: Arc::new(move |name| variables.get(name).cloned()) }
    }

    fn account() -> Account {
        account_at(None)
    }

    /// With AWS' services at this address.
    fn account_at(url: Option<&str>) -> Account {
        let http = Http::new(HttpSettings::default()).unwrap();
        let mut settings = json!({"region": "eu-west-1", "authentication": "WORKLOAD_IDENTITY"});
        if let Some(url) = url {
            settings["endpointUrl"] = json!(url);
        }
        let settings = settings.as_object().unwrap().clone();
        let connection = ConnectionSpec { id: "c".into(), kind: "AWS".into(), settings };
        let ambient_endpoints = url.map(str::to_owned).into_iter().collect();
        let host = HostSettings { ambient_cloud_credentials: true, ambient_endpoints, ..HostSettings::default() };
        Aws::new(&Tools { http, host: Arc::new(host) }).account(&connection, BTreeMap::new()).unwrap()
    }

    /// Answers one call after the other, and tells their heads and bodies.
    async fn service(
        answers: &'static [(&'static str, &'static str)],
    ) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut heads = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let mut told = String::from_utf8(head).unwrap().to_ascii_lowercase();
                let length = told.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut sent = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut sent).await.unwrap();
                told.push_str(&String::from_utf8(sent).unwrap());
                heads.push(told);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            heads
        });
        (url, task)
    }

    const KEYS: &str = r#"{"Code": "Success", "AccessKeyId": "ASIA", "SecretAccessKey": "s3", "Token": "t0", "Expiration": "2026-01-02T03:04:05Z"}"#;

    #[tokio::test]
    async fn nothing_is_lent_by_itself() {
        let machine = machine(false, &[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        let error = machine.workload(&account()).await.unwrap_err().error;
        assert_eq!(error.failure.code, codes::AWS_IDENTITY_NOT_LENT);
        assert_eq!(machine.profile("default").await.unwrap_err().failure.code, codes::AWS_IDENTITY_NOT_LENT);
    }

    #[tokio::test]
    async fn a_web_identity_is_exchanged_for_a_session() {
        const SESSION: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s3</SecretAccessKey><SessionToken>t0</SessionToken><Expiration>2026-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        let (url, task) =
            service(&[("200 OK", SESSION), ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>")]).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "w3b.identity\n").unwrap();
        let given = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"),
        ];
        let machine = machine(true, &given);
        let keys = machine.workload(&account_at(Some(&url))).await.unwrap();
        assert_eq!((keys.id.as_str(), keys.token.unwrap().expose()), ("ASIA", "t0"));
        assert_eq!(keys.expires, Some(1_767_323_045_000_000));
        // The token file is replaced every hour: it is read anew.
        std::fs::write(&file, "an0ther.identity").unwrap();
        let refused = machine.workload(&account_at(Some(&url))).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Denied);
        assert!(!format!("{:?}", refused.error).contains("an0ther"), "{:?}", refused.error);
        let asked = task.await.unwrap();
        for (asked, token) in asked.iter().zip(["w3b.identity", "an0ther.identity"]) {
            let body = asked.rsplit("\r\n\r\n").next().unwrap();
            let sent: BTreeMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            assert_eq!(sent["Action"], "AssumeRoleWithWebIdentity");
            assert_eq!((sent["WebIdentityToken"].as_str(), sent["RoleSessionName"].as_str()), (token, "slipway"));
            assert!(!asked.contains("authorization:"), "such a call is not signed");
        }
    }

    #[tokio::test]
    async fn an_instance_is_asked_with_a_token() {
        let (url, task) = service(&[("200 OK", "tok3n"), ("200 OK", "worker-role\n"), ("200 OK", KEYS)]).await;
        let keys = machine(true, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]).workload(&account()).await.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose()), ("ASIA", "s3"));
        assert_eq!(keys.expires, Some(1_767_323_045_000_000));
        let heads = task.await.unwrap();
        assert!(heads[0].starts_with("put /latest/api/token ") && heads[0].contains("ttl-seconds: 21600"), "{heads:?}");
        assert!(heads[1..].iter().all(|head| head.contains("x-aws-ec2-metadata-token: tok3n")), "{heads:?}");
        assert!(heads[2].starts_with("get /latest/meta-data/iam/security-credentials/worker-role "), "{heads:?}");
    }

    #[tokio::test]
    async fn a_container_is_asked_where_it_may_be() {
        let (url, task) = service(&[("200 OK", KEYS)]).await;
        let url = format!("{url}/creds?a=b");
        let given =
            [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "tok")];
        let keys = machine(true, &given).workload(&account()).await.unwrap();
        assert_eq!(keys.token.unwrap().expose(), "t0");
        let head = task.await.unwrap().remove(0);
        assert!(head.starts_with("get /creds?a=b ") && head.contains("authorization: tok\r\n"), "{head}");

        for bad in ["http://192.0.2.1/creds", "ftp://localhost/", "x"] {
            let machine = machine(true, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad)]);
            let error = machine.workload(&account()).await.unwrap_err().error;
            assert_eq!(error.failure.code, codes::AWS_CREDENTIALS_INVALID, "{bad}");
        }
    }

    #[tokio::test]
    async fn refusals_are_told_without_words() {
        let (url, _task) = service(&[("503 Service Unavailable", "s3cret")]).await;
        let error = machine(true, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]).workload(&account()).await;
        let error = error.unwrap_err().error;
        assert!(error.retryable && !format!("{error:?}").contains("s3cret"), "{error:?}");
        let off = machine(true, &[("AWS_EC2_METADATA_DISABLED", "TRUE")]).workload(&account()).await.unwrap_err();
        assert!(off.error.failure.message.contains("switched off"));
    }

    #[tokio::test]
    async fn profiles_are_sections() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let text = "# x\n[default]\naws_access_key_id = A\naws_secret_access_key=\n[ prod ]\naws_access_key_id=B\naws_secret_access_key = b=c\nAWS_SESSION_TOKEN=t\n";
        std::fs::write(&file, text).unwrap();
        let machine = machine(true, &[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]);
        let keys = machine.profile("prod").await.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose(), keys.token.unwrap().expose()), ("B", "b=c", "t"));
        for missing in ["default", "other"] {
            assert_eq!(machine.profile(missing).await.unwrap_err().failure.code, codes::AWS_CREDENTIALS_INVALID);
        }
    }
}
