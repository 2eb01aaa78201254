//! SageMaker's own operations.

use super::door::No;
use super::state::{Coming, Endpoint, State, Step};
use super::wanted::{Object, name, only, text};
use serde_json::{Value, json};

pub(super) fn answer(state: &mut State, operation: &str, body: &Object) -> Result<Value, No> {
    match operation {
        "CreateModel" => create_model(state, body),
        "CreateEndpointConfig" => create_config(state, body),
        "CreateEndpoint" => create_endpoint(state, body),
        "UpdateEndpoint" => update_endpoint(state, body),
        "DeleteEndpoint" => delete_endpoint(state, body),
        "DescribeEndpoint" => describe_endpoint(state, body),
        "DescribeModel" => described(state, body, "model", "ModelName"),
        "DescribeEndpointConfig" => described(state, body, "endpoint-config", "EndpointConfigName"),
        "DeleteModel" => delete(state, body, "model", "ModelName"),
        "DeleteEndpointConfig" => {
            let config = name(body, "EndpointConfigName")?;
            if state.endpoints.values().any(|one| one.config == config || one.pending.as_deref() == Some(config)) {
                return Err(No::validation("Cannot delete an endpoint configuration that is in use"));
            }
            delete(state, body, "endpoint-config", "EndpointConfigName")
        }
        "ListTags" => {
            only(body, &["ResourceArn"], &["MaxResults", "NextToken"])?;
            let tags = state.tags.get(text(body, "ResourceArn")?).cloned().unwrap_or_else(|| json!([]));
            Ok(json!({"Tags": tags}))
        }
        "AddTags" => {
            only(body, &["ResourceArn", "Tags"], &[])?;
            let given = body.get("Tags").and_then(Value::as_array).cloned().unwrap_or_default();
            let tags = state.tags.entry(text(body, "ResourceArn")?.to_owned()).or_insert_with(|| json!([]));
            let mut all = tags.as_array().cloned().unwrap_or_default();
            all.retain(|one| given.iter().all(|new| new["Key"] != one["Key"]));
            all.extend(given);
            *tags = all.into();
            Ok(json!({"Tags": tags}))
        }
        "ListModels" => list(body, state.models.keys(), "Models", "ModelName"),
        "ListEndpointConfigs" => list(body, state.configs.keys(), "EndpointConfigs", "EndpointConfigName"),
        "ListEndpoints" => list(body, state.endpoints.keys(), "Endpoints", "EndpointName"),
        other => Err(No::new(400, "UnknownOperationException", other.to_owned())),
    }
}

fn keep_tags(state: &mut State, arn: &str, body: &Object) {
    state.tags.insert(arn.to_owned(), body.get("Tags").cloned().unwrap_or_else(|| json!([])));
}

fn create_model(state: &mut State, body: &Object) -> Result<Value, No> {
    only(
        body,
        &["ModelName", "PrimaryContainer", "ExecutionRoleArn"],
        &["Tags", "VpcConfig", "EnableNetworkIsolation"],
    )?;
    let model = name(body, "ModelName")?;
    let container = body["PrimaryContainer"].as_object().ok_or_else(|| No::validation("PrimaryContainer"))?;
    only(container, &["Image"], &["Environment"])?;
    if !text(container, "Image")?.contains("@sha256:") {
        return Err(No::validation("this practice SageMaker wants images by digest"));
    }
    if state.models.contains_key(model) {
        return Err(No::validation(format!("Cannot create already existing model \"{}\".", state.arn("model", model))));
    }
    let arn = state.arn("model", model);
    state.models.insert(model.to_owned(), Value::Object(body.clone()));
    keep_tags(state, &arn, body);
    state.change("CreateModel", model);
    Ok(json!({"ModelArn": arn}))
}

fn create_config(state: &mut State, body: &Object) -> Result<Value, No> {
    only(body, &["EndpointConfigName", "ProductionVariants"], &["Tags", "DataCaptureConfig", "KmsKeyId"])?;
    let config = name(body, "EndpointConfigName")?;
    let variants = body["ProductionVariants"].as_array().filter(|all| (1..=10).contains(&all.len()));
    for variant in variants.ok_or_else(|| No::validation("1 to 10 ProductionVariants"))? {
        let variant = variant.as_object().ok_or_else(|| No::validation("ProductionVariants"))?;
        only(
            variant,
            &["VariantName", "ModelName", "InstanceType", "InitialInstanceCount"],
            &["InitialVariantWeight", "ContainerStartupHealthCheckTimeoutInSeconds"],
        )?;
        name(variant, "VariantName")?;
        let model = name(variant, "ModelName")?;
        if !state.models.contains_key(model) {
            return Err(No::validation(format!("Could not find model \"{}\".", state.arn("model", model))));
        }
    }
    if state.configs.contains_key(config) {
        return Err(No::validation("Cannot create already existing endpoint configuration"));
    }
    let arn = state.arn("endpoint-config", config);
    state.configs.insert(config.to_owned(), Value::Object(body.clone()));
    keep_tags(state, &arn, body);
    state.change("CreateEndpointConfig", config);
    Ok(json!({"EndpointConfigArn": arn}))
}

fn known_config<'a>(state: &State, body: &'a Object) -> Result<&'a str, No> {
    let config = name(body, "EndpointConfigName")?;
    if state.configs.contains_key(config) {
        return Ok(config);
    }
    Err(No::validation(format!("Could not find endpoint configuration \"{}\".", state.arn("endpoint-config", config))))
}

fn create_endpoint(state: &mut State, body: &Object) -> Result<Value, No> {
    only(body, &["EndpointName", "EndpointConfigName"], &["Tags"])?;
    let (endpoint, config) = (name(body, "EndpointName")?, known_config(state, body)?);
    let arn = state.arn("endpoint", endpoint);
    if state.endpoints.contains_key(endpoint) {
        return Err(No::validation(format!("Cannot create already existing endpoint \"{arn}\".")));
    }
    let last = match state.coming.take() {
        Some(Coming::Failure(reason) | Coming::Mixed(reason)) => Step::Fail("Failed", reason),
        None => Step::Serve(config.to_owned()),
    };
    let made = Endpoint {
        config: config.to_owned(),
        status: "Creating",
        reason: None,
        modified: state.tick(),
        weights: state.weights_of(config),
        next: vec![(state.slowness, last)],
        pending: None,
    };
    state.endpoints.insert(endpoint.to_owned(), made);
    keep_tags(state, &arn, body);
    state.change("CreateEndpoint", endpoint);
    Ok(json!({"EndpointArn": arn}))
}

fn update_endpoint(state: &mut State, body: &Object) -> Result<Value, No> {
    only(body, &["EndpointName", "EndpointConfigName"], &["DeploymentConfig", "RetainAllVariantProperties"])?;
    let (endpoint, config) = (name(body, "EndpointName")?, known_config(state, body)?);
    let (arn, slowness, modified) = (state.arn("endpoint", endpoint), state.slowness, state.tick());
    let Some(found) = state.endpoints.get_mut(endpoint) else {
        return Err(No::validation(format!("Could not find endpoint \"{arn}\".")));
    };
    if !matches!(found.status, "InService" | "OutOfService") {
        return Err(No::validation(format!("Cannot update in-progress endpoint \"{arn}\".")));
    }
    found.status = "Updating";
    found.reason = None;
    found.modified = modified;
    found.pending = Some(config.to_owned());
    found.next = match state.coming.take() {
        None => vec![(slowness, Step::Serve(config.to_owned()))],
        Some(Coming::Failure(reason)) => vec![(slowness, Step::To("RollingBack")), (slowness, Step::Back(reason))],
        Some(Coming::Mixed(reason)) => {
            vec![(slowness, Step::To("RollingBack")), (slowness, Step::Fail("UpdateRollbackFailed", reason))]
        }
    };
    state.change("UpdateEndpoint", endpoint);
    Ok(json!({"EndpointArn": arn}))
}

fn delete_endpoint(state: &mut State, body: &Object) -> Result<Value, No> {
    only(body, &["EndpointName"], &[])?;
    let endpoint = name(body, "EndpointName")?;
    let (arn, slowness, modified) = (state.arn("endpoint", endpoint), state.slowness, state.tick());
    let Some(found) = state.endpoints.get_mut(endpoint) else {
        return Err(No::validation(format!("Could not find endpoint \"{arn}\".")));
    };
    if matches!(found.status, "Creating" | "Updating" | "RollingBack" | "Deleting") {
        return Err(No::validation(format!("Cannot delete in-progress endpoint \"{arn}\".")));
    }
    (found.status, found.modified, found.next) = ("Deleting", modified, vec![(slowness, Step::Gone)]);
    state.change("DeleteEndpoint", endpoint);
    Ok(json!({}))
}

fn describe_endpoint(state: &mut State, body: &Object) -> Result<Value, No> {
    only(body, &["EndpointName"], &[])?;
    let endpoint = name(body, "EndpointName")?;
    state.pass(endpoint);
    let arn = state.arn("endpoint", endpoint);
    let Some(found) = state.endpoints.get(endpoint) else {
        return Err(No::validation(format!("Could not find endpoint \"{arn}\".")));
    };
    let variants: Vec<_> = found
        .weights
        .iter()
        .map(|(name, weight)| {
            json!({"VariantName": name, "CurrentWeight": weight, "DesiredWeight": weight, "CurrentInstanceCount": 1, "DesiredInstanceCount": 1})
        })
        .collect();
    let mut answer = json!({
        "EndpointName": endpoint,
        "EndpointArn": arn,
        "EndpointConfigName": found.config,
        "EndpointStatus": found.status,
        "CreationTime": 1.0,
        "LastModifiedTime": found.modified,
    });
    if !variants.is_empty() {
        answer["ProductionVariants"] = json!(variants);
    }
    if let Some(reason) = &found.reason {
        answer["FailureReason"] = json!(reason);
    }
    if let Some(pending) = &found.pending {
        answer["PendingDeploymentSummary"] = json!({"EndpointConfigName": pending});
    }
    Ok(answer)
}

fn described(state: &State, body: &Object, kind: &str, field: &str) -> Result<Value, No> {
    only(body, &[field], &[])?;
    let name = name(body, field)?;
    let all = if kind == "model" { &state.models } else { &state.configs };
    let arn = state.arn(kind, name);
    let Some(found) = all.get(name) else {
        return Err(No::validation(format!("Could not find {kind} \"{arn}\".")));
    };
    let mut answer = found.clone();
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("Tags");
        answer.insert(if kind == "model" { "ModelArn" } else { "EndpointConfigArn" }.to_owned(), json!(arn));
        answer.insert("CreationTime".to_owned(), json!(1.0));
    }
    Ok(answer)
}

fn delete(state: &mut State, body: &Object, kind: &str, field: &str) -> Result<Value, No> {
    only(body, &[field], &[])?;
    let name = name(body, field)?;
    let arn = state.arn(kind, name);
    let all = if kind == "model" { &mut state.models } else { &mut state.configs };
    if all.remove(name).is_none() {
        return Err(No::validation(format!("Could not find {kind} \"{arn}\".")));
    }
    state.tags.remove(&arn);
    state.change(if kind == "model" { "DeleteModel" } else { "DeleteEndpointConfig" }, name);
    Ok(json!({}))
}

fn list<'a>(body: &Object, all: impl Iterator<Item = &'a String>, list: &str, field: &str) -> Result<Value, No> {
    only(body, &[], &["NameContains", "MaxResults", "NextToken", "SortBy", "SortOrder"])?;
    let part = body.get("NameContains").and_then(Value::as_str).unwrap_or_default();
    let from: usize = body.get("NextToken").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0);
    let most = body.get("MaxResults").and_then(Value::as_u64).unwrap_or(10);
    if most == 0 || most > 100 {
        return Err(No::validation("1 validation error detected: MaxResults"));
    }
    // Pages are small, so that whoever lists has to turn them.
    let most = usize::try_from(most).unwrap_or(2).min(2);
    let found: Vec<_> = all.filter(|name| name.contains(part)).collect();
    let page: Vec<_> = found.iter().skip(from).take(most).map(|name| json!({field: name})).collect();
    let mut answer = json!({list: page});
    if from + most < found.len() {
        answer["NextToken"] = json!((from + most).to_string());
    }
    Ok(answer)
}
