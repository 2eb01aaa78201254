//! ECR's operations: repositories, their images' tags, logins.

use super::door::No;
use super::state::{State, Tags};
use super::wanted::{Object, only, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The password that ECR's login gives.
pub(super) const PASSWORD: &str = "practice-registry-password";

pub(super) fn answer(state: &mut State, operation: &str, body: &Object) -> Result<Value, No> {
    match operation {
        "GetAuthorizationToken" => {
            only(body, &[], &["registryIds"])?;
            let token = STANDARD.encode(format!("AWS:{PASSWORD}"));
            let endpoint = format!("http://{}", state.registry);
            Ok(
                json!({"authorizationData": [{"authorizationToken": token, "proxyEndpoint": endpoint, "expiresAt": 4_070_908_800.0}]}),
            )
        }
        "DescribeRepositories" => {
            only(body, &["repositoryNames"], &["registryId"])?;
            let names = body["repositoryNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let described = names.map(|name| found(state, name).map(|_| repository(state, name)));
            Ok(json!({"repositories": described.collect::<Result<Vec<_>, _>>()?}))
        }
        "CreateRepository" => {
            only(body, &["repositoryName"], &["tags"])?;
            let name = text(body, "repositoryName")?.to_owned();
            if state.repositories.contains_key(&name) {
                return Err(No::new(400, "RepositoryAlreadyExistsException", "The repository already exists"));
            }
            state.repositories.insert(name.clone(), Tags::new());
            state.change(operation, &name);
            Ok(json!({"repository": repository(state, &name)}))
        }
        "DescribeImages" => {
            only(body, &["repositoryName", "imageIds"], &["registryId"])?;
            let tags = found(state, text(body, "repositoryName")?)?;
            let described = ids(body).into_iter().map(|tag| match tags.get(&tag) {
                Some(digest) => Ok(json!({"imageDigest": digest, "imageTags": [tag]})),
                None => Err(No::new(400, "ImageNotFoundException", format!("The image with tag {tag} is not there"))),
            });
            Ok(json!({"imageDetails": described.collect::<Result<Vec<_>, _>>()?}))
        }
        "ListImages" => {
            only(body, &["repositoryName"], &["filter", "maxResults", "nextToken", "registryId"])?;
            let tags = found(state, text(body, "repositoryName")?)?;
            let ids: Vec<_> =
                tags.iter().map(|(tag, digest)| json!({"imageTag": tag, "imageDigest": digest})).collect();
            Ok(json!({"imageIds": ids}))
        }
        "BatchDeleteImage" => {
            only(body, &["repositoryName", "imageIds"], &["registryId"])?;
            let name = text(body, "repositoryName")?.to_owned();
            let mut tags = found(state, &name)?.clone();
            let (mut gone, mut failures) = (Vec::new(), Vec::new());
            for tag in ids(body) {
                match tags.remove(&tag) {
                    Some(digest) => {
                        state.change(operation, &tag);
                        gone.push(json!({"imageTag": tag, "imageDigest": digest}));
                    }
                    None => failures.push(json!({"imageId": {"imageTag": tag}, "failureCode": "ImageNotFound"})),
                }
            }
            state.repositories.insert(name, tags);
            Ok(json!({"imageIds": gone, "failures": failures}))
        }
        other => Err(No::new(400, "UnknownOperationException", other.to_owned())),
    }
}

fn repository(state: &State, name: &str) -> Value {
    json!({"repositoryName": name, "repositoryUri": format!("{}/{name}", state.registry)})
}

fn found<'a>(state: &'a State, name: &str) -> Result<&'a Tags, No> {
    let missing =
        || No::new(400, "RepositoryNotFoundException", format!("The repository with name {name} does not exist"));
    state.repositories.get(name).ok_or_else(missing)
}

fn ids(body: &Object) -> Vec<String> {
    let ids = body.get("imageIds").and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(|id| id.get("imageTag")?.as_str().map(str::to_owned)).collect()
}
