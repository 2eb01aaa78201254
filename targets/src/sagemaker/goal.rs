//! What should be in the account for a spec: bodies, and names that follow from them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    api::Model,
    names::{ENDPOINT, SERVICE, VERSION, variant},
    session::Place,
    settings::{Rollout, StepType, Strategy},
};

/// A thing that is created once under a name that its content decides.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) body: Value,
}

impl Made {
    /// Whether a model that is there is this one. Nobody can change one, but somebody may have made another of its name.
    pub(super) fn is_model(&self, found: &Model) -> bool {
        let container = found.primary_container.clone().unwrap_or_default();
        let text = |pointer: &str| self.body.pointer(pointer).and_then(Value::as_str);
        let environment = json!(container.environment);
        container.image.as_deref() == text("/PrimaryContainer/Image")
            && Some(&environment) == self.body.pointer("/PrimaryContainer/Environment")
            && found.execution_role_arn.as_deref() == text("/ExecutionRoleArn")
    }
}

/// The models of a spec, one a version, and the configuration that names them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) models: Vec<Made>,
    pub(super) config: Made,
}

impl Place<'_> {
    /// `images` are the versions' images by digest, in their order.
    pub(super) fn goal(&self, images: &[String]) -> Goal {
        let models: Vec<_> = self
            .service
            .versions
            .iter()
            .zip(images)
            .map(|(version, image)| self.model(&version.version, image))
            .collect();
        let config = self.config(&models);
        Goal { models, config }
    }

    fn model(&self, version: &str, image: &str) -> Made {
        let mut body = Map::new();
        body.insert("PrimaryContainer".into(), json!({"Image": image, "Environment": self.environment(version)}));
        if let Some(role) = &self.settings.execution_role_arn {
            body.insert("ExecutionRoleArn".into(), json!(role));
        }
        let vpc = &self.settings.vpc;
        if !vpc.subnets.is_empty() {
            body.insert(
                "VpcConfig".into(),
                json!({"Subnets": vpc.subnets, "SecurityGroupIds": vpc.security_group_ids}),
            );
        }
        let service = self.service.published_service_id.as_str();
        body.insert("Tags".into(), self.tags(&[(SERVICE, service), ("slipway:version", version)]));
        self.made("ModelName", body)
    }

    fn config(&self, models: &[Made]) -> Made {
        let mut body = Map::new();
        let alone = models.len() == 1;
        let base = self.settings.variant();
        let variants = self.service.versions.iter().zip(models).map(|(version, model)| {
            json!({
                "VariantName": variant(base, &version.version, alone),
                "ModelName": model.name,
                "InstanceType": self.instance_type(),
                "InitialInstanceCount": self.instance_count(),
                "InitialVariantWeight": version.probability,
                "ContainerStartupHealthCheckTimeoutInSeconds": self.startup_seconds(),
            })
        });
        body.insert("ProductionVariants".into(), variants.collect());
        if let Some(capture) = self.data_capture() {
            body.insert("DataCaptureConfig".into(), capture);
        }
        if let Some(key) = &self.settings.kms_key_id {
            body.insert("KmsKeyId".into(), json!(key));
        }
        let service = self.service.published_service_id.as_str();
        body.insert("Tags".into(), self.tags(&[(SERVICE, service), (ENDPOINT, &self.names.endpoint)]));
        self.made("EndpointConfigName", body)
    }

    fn made(&self, field: &str, mut body: Map<String, Value>) -> Made {
        let name = self.names.of_content(self.service, &Value::Object(body.clone()));
        body.insert(field.to_owned(), json!(name));
        Made { name, body: Value::Object(body) }
    }

    fn environment(&self, version: &str) -> BTreeMap<String, String> {
        let mut all = self.settings.environment.clone();
        all.extend(self.overrides.environment.clone());
        all.insert(VERSION.to_owned(), version.to_owned());
        all
    }

    pub(super) fn instance_type(&self) -> &str {
        self.overrides.instance_type.as_deref().unwrap_or(self.settings.instance_type())
    }

    pub(super) fn instance_count(&self) -> u32 {
        self.overrides.instance_count.or(self.settings.instance_count).unwrap_or(1)
    }

    pub(super) fn startup_seconds(&self) -> u32 {
        self.settings.container_startup_timeout_seconds.unwrap_or(600)
    }

    /// What SageMaker should capture, if anything.
    pub(super) fn data_capture(&self) -> Option<Value> {
        let capture = &self.settings.data_capture;
        let destination = capture.destination_s3_uri.as_ref().filter(|_| capture.enabled)?;
        let modes = [(capture.input, "Input"), (capture.output, "Output")];
        let modes: Vec<_> =
            modes.into_iter().filter(|(on, _)| *on).map(|(_, mode)| json!({"CaptureMode": mode})).collect();
        let mut body = json!({
            "EnableCapture": true,
            "InitialSamplingPercentage": capture.sampling_percentage,
            "DestinationS3Uri": destination,
            "CaptureOptions": modes,
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        });
        if let Some(key) = &capture.kms_key_id {
            body["KmsKeyId"] = json!(key);
        }
        Some(body)
    }
}

/// How queries move.
pub(super) fn deployment_config(rollout: &Rollout) -> Value {
    let size = json!({
        "Type": match rollout.step_type {
            StepType::CapacityPercent => "CAPACITY_PERCENT",
            StepType::InstanceCount => "INSTANCE_COUNT",
        },
        "Value": rollout.step_size,
    });
    let mut routing = json!({"WaitIntervalInSeconds": rollout.wait_seconds});
    match rollout.strategy {
        Strategy::AllAtOnce => routing["Type"] = json!("ALL_AT_ONCE"),
        Strategy::Canary => {
            routing["Type"] = json!("CANARY");
            routing["CanarySize"] = size;
        }
        Strategy::Linear => {
            routing["Type"] = json!("LINEAR");
            routing["LinearStepSize"] = size;
        }
    }
    let mut policy = json!({
        "TrafficRoutingConfiguration": routing,
        "TerminationWaitInSeconds": rollout.termination_wait_seconds,
    });
    if let Some(most) = rollout.maximum_execution_seconds {
        policy["MaximumExecutionTimeoutInSeconds"] = json!(most);
    }
    let mut config = json!({"BlueGreenUpdatePolicy": policy});
    if !rollout.rollback_alarms.is_empty() {
        let alarms: Vec<_> = rollout.rollback_alarms.iter().map(|name| json!({"AlarmName": name})).collect();
        config["AutoRollbackConfiguration"] = json!({"Alarms": alarms});
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollouts_say_what_sagemaker_wants() {
        let canary =
            Rollout { strategy: Strategy::Canary, rollback_alarms: vec!["errors".into()], ..Rollout::default() };
        assert_eq!(
            deployment_config(&canary),
            json!({
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "WaitIntervalInSeconds": 300,
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                    },
                    "TerminationWaitInSeconds": 0,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
            })
        );
        let plain = deployment_config(&Rollout::default());
        assert!(plain.pointer("/BlueGreenUpdatePolicy/TrafficRoutingConfiguration/CanarySize").is_none());
        assert!(plain.get("AutoRollbackConfiguration").is_none());
    }
}
