//! The Elastic Container Registry: where a repository is, who may push, and which of its images are ours.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::secrets::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::Account,
    place::Service,
    words::{AwsError, Kind},
};
use crate::{
    codes,
    http::{CallError, Effect},
};

/// Longer lists of images are an error, in pages.
const PAGES: usize = 100;
/// So many images are deleted in one call: ECR's limit.
const AT_ONCE: usize = 100;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Repository {
    /// Registry and name: what an image reference begins with.
    #[serde(rename = "repositoryUri")]
    pub(crate) uri: String,
}

/// Who may push and pull, for some hours.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// The account's registry, as image references begin with it.
    pub(crate) registry: String,
    /// ECR's own registries speak TLS; what stands in for them may not.
    pub(crate) plain_http: bool,
}

impl Account {
    /// The repository of this name, if there is one.
    pub(crate) async fn repository(&self, name: &str) -> Result<Option<Repository>, AwsError> {
        #[derive(Deserialize)]
        struct Answer {
            repositories: Vec<Repository>,
        }
        let doing = "looking for the image repository";
        let body = json!({"repositoryNames": [name]});
        let found = self.json(Service::Ecr, "DescribeRepositories", &body, doing).await;
        Ok(AwsError::unless_missing(found)?.and_then(|answer: Answer| answer.repositories.into_iter().next()))
    }

    /// Makes the repository; one that somebody else made meanwhile is as good.
    pub(crate) async fn create_repository(&self, name: &str, tags: &Value) -> Result<(), AwsError> {
        let doing = "creating the image repository";
        let body = json!({"repositoryName": name, "tags": tags});
        match self.said(Service::Ecr, "CreateRepository", &body, doing).await {
            Err(error) if error.kind != Kind::Exists => Err(error),
            _ => Ok(()),
        }
    }

    /// A login for the registry.
    pub(crate) async fn registry_login(&self) -> Result<Login, AwsError> {
        let doing = "getting a login for the image registry";
        let answer = self.said(Service::Ecr, "GetAuthorizationToken", &json!({}), doing).await?;
        let read = || {
            let value = answer.value()?;
            let token = value.pointer("/authorizationData/0/authorizationToken")?.as_str()?;
            let login = String::from_utf8(BASE64_STANDARD.decode(token).ok()?).ok()?;
            let (user, password) = login.split_once(':')?;
            let url = value.pointer("/authorizationData/0/proxyEndpoint").and_then(Value::as_str).unwrap_or_default();
            let registry = url.split_once("://").map_or(url, |(_, host)| host).trim_end_matches('/').to_owned();
            let (password, plain_http) = (Secret::from(password.to_owned()), url.starts_with("http://"));
            Some(Login { user: user.to_owned(), password, registry, plain_http })
        };
        // Never with the answer's words: they are the login.
        read().ok_or_else(|| {
            let message = format!("The answer of Amazon ECR does not have the shape that its API promises ({doing}).");
            CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, Effect::Ended).into()
        })
    }

    /// The digest of the image of this tag, if there is one.
    pub(crate) async fn image_digest(&self, repository: &str, tag: &str) -> Result<Option<String>, AwsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            image_details: Vec<Details>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Details {
            image_digest: Option<String>,
        }
        let doing = "looking for an image in the repository";
        let body = json!({"repositoryName": repository, "imageIds": [{"imageTag": tag}]});
        let found = AwsError::unless_missing(self.json(Service::Ecr, "DescribeImages", &body, doing).await)?;
        Ok(found.and_then(|answer: Answer| answer.image_details.into_iter().find_map(|one| one.image_digest)))
    }

    /// The tags in this repository that begin with `prefix`; none where there is no repository.
    pub(crate) async fn image_tags(&self, repository: &str, prefix: &str) -> Result<Vec<String>, AwsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            image_ids: Vec<Id>,
            next_token: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Id {
            image_tag: Option<String>,
        }
        let doing = "listing the images in the repository";
        let (mut tags, mut next) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let mut body = json!({"repositoryName": repository, "filter": {"tagStatus": "TAGGED"}, "maxResults": 1000});
            if let Some(token) = &next {
                body["nextToken"] = json!(token);
            }
            let found = self.json(Service::Ecr, "ListImages", &body, doing).await;
            let Some(answer): Option<Answer> = AwsError::unless_missing(found)? else { return Ok(Vec::new()) };
            tags.extend(
                answer.image_ids.into_iter().filter_map(|id| id.image_tag).filter(|tag| tag.starts_with(prefix)),
            );
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(tags);
            }
        }
        let message = format!("The repository {repository} has more images than Slipway lists.");
        Err(CallError::permanent(codes::NODE_ANSWER_TOO_LARGE, message, Effect::None).into())
    }

    /// Takes these tags away; an image without a tag left goes with its last one. Those that are gone already are fine.
    pub(crate) async fn delete_images(&self, repository: &str, tags: &[String]) -> Result<(), AwsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            #[serde(default)]
            failures: Vec<Failed>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Failed {
            failure_code: Option<String>,
        }
        let doing = "deleting our images from the repository";
        for tags in tags.chunks(AT_ONCE) {
            let ids: Vec<_> = tags.iter().map(|tag| json!({"imageTag": tag})).collect();
            let body = json!({"repositoryName": repository, "imageIds": ids});
            let answer: Answer = self.json(Service::Ecr, "BatchDeleteImage", &body, doing).await?;
            let failed = answer
                .failures
                .into_iter()
                .find_map(|failed| failed.failure_code.filter(|code| code != "ImageNotFound"));
            if let Some(code) = failed {
                let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
                let message = format!("Amazon ECR did not delete all of our images from {repository} ({code}).");
                return Err(CallError::permanent(codes::NODE_REPORT_ERROR, message, Effect::Ended).into());
            }
        }
        Ok(())
    }
}
