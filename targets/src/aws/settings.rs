//! What the connection says, as `connection.json` describes it.

use std::collections::BTreeMap;

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
    step::StepContext,
};
use serde::Deserialize;

use super::place::{Partition, Service, own_domains};
use crate::{
    codes, connections, managed::ambient, secret_ref::SecretRef, spec::ConnectionSpec, target::Secrets,
    tools::HostSettings,
};

pub(crate) const SCHEMA: &str = include_str!("connection.json");

/// Whose credentials sign the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Authentication {
    #[default]
    Keys,
    Profile,
    WorkloadIdentity,
}

/// The connection's settings.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct AwsSettings {
    pub(crate) region: Option<String>,
    pub(crate) authentication: Authentication,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<SecretRef>,
    pub(crate) session_token: Option<SecretRef>,
    pub(crate) profile: Option<String>,
    pub(crate) role_arn: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) role_session_name: Option<String>,
    pub(crate) role_seconds: Option<u32>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) sts_endpoint_url: Option<String>,
    pub(crate) sagemaker_endpoint_url: Option<String>,
    pub(crate) runtime_endpoint_url: Option<String>,
    pub(crate) ecr_endpoint_url: Option<String>,
}

/// The secrets of a connection, by reference.
pub(crate) type Opened = BTreeMap<String, Secret>;

impl AwsSettings {
    /// Reads them. What the schema lets through can be read.
    pub(crate) fn read(connection: &ConnectionSpec) -> Result<Self, Failure> {
        connections::settings(connection)
    }

    fn references(&self) -> impl Iterator<Item = &SecretRef> {
        [&self.secret_access_key, &self.session_token].into_iter().flatten()
    }

    /// Opens its secrets for a step.
    pub(crate) async fn open_in(&self, run: &dyn StepContext) -> Result<Opened, StepError> {
        let mut opened = Opened::new();
        for reference in self.references() {
            opened.insert(reference.id.clone(), run.secret(&reference.id).await?);
        }
        Ok(opened)
    }

    /// Opens its secrets for a look.
    pub(crate) async fn open_with(&self, secrets: &dyn Secrets) -> Result<Opened, Failure> {
        let mut opened = Opened::new();
        for reference in self.references() {
            opened.insert(reference.id.clone(), secrets.open(&reference.id).await?);
        }
        Ok(opened)
    }

    /// The URL that stands in for a service's own.
    pub(crate) fn endpoint(&self, service: Service) -> Option<&str> {
        let own = match service {
            Service::Sts => &self.sts_endpoint_url,
            Service::SageMaker => &self.sagemaker_endpoint_url,
            Service::SageMakerRuntime => &self.runtime_endpoint_url,
            Service::Ecr => &self.ecr_endpoint_url,
        };
        own.as_deref().or(self.endpoint_url.as_deref())
    }

    /// The identity of a machine goes to AWS alone, and to what the operator names.
    ///
    /// # Errors
    /// `AMBIENT_CREDENTIALS_OFF`, with the first address that is neither.
    pub(crate) fn may_lend(&self, host: &HostSettings) -> Result<(), Failure> {
        let region = self.region.as_deref().unwrap_or_default();
        let own = own_domains(region);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        for service in Service::ALL {
            let place = self.endpoint(service).map_or_else(|| service.url(region), str::to_owned);
            ambient::may_go_to(host, &place, &own)?;
        }
        Ok(())
    }

    /// What nothing works without, and what contradicts itself: path, code, sentence.
    pub(crate) fn problems(&self) -> Vec<Failure> {
        let missing = |path: &str| {
            Failure::new(codes::SETTING_MISSING, format!("The connection's setting {path} is needed, and is not set."))
        };
        let mut problems = Vec::new();
        if self.region.is_none() {
            problems.push(missing("region"));
        }
        if self.authentication == Authentication::Keys {
            if self.access_key_id.is_none() {
                problems.push(missing("accessKeyId"));
            }
            if self.secret_access_key.is_none() {
                problems.push(missing("secretAccessKey"));
            }
        }
        let partition = self.region.as_deref().map(Partition::of);
        if let (Some(role), Some(partition)) = (&self.role_arn, partition)
            && !partition.holds(role)
        {
            let message = format!(
                "The connection's setting roleArn names a role of another partition than the region's ({}).",
                partition.name
            );
            problems.push(Failure::new(codes::SETTING_INVALID, message));
        }
        if self.external_id.is_some() && self.role_arn.is_none() {
            let message = "The connection's setting externalId says nothing without roleArn.";
            problems.push(Failure::new(codes::SETTING_INVALID, message));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn read(settings: Value) -> AwsSettings {
        let settings = settings.as_object().cloned().unwrap_or_default();
        AwsSettings::read(&ConnectionSpec { id: "c".into(), kind: "AWS".into(), settings }).unwrap()
    }

    #[test]
    fn schema_and_struct_have_the_same_fields() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let secret = |property: &Value| property["writeOnly"] == true;
        let sample = |property: &Value| match property["type"].as_str() {
            _ if secret(property) => json!({"$secret": "x"}),
            Some("integer") => json!(900),
            _ => property["enum"].get(0).cloned().unwrap_or(json!("x")),
        };
        let whole: Map<_, _> = properties.iter().map(|(name, property)| (name.clone(), sample(property))).collect();
        // Each property is a field, else this would be refused; each field is a property, else one would be empty.
        let settings = read(Value::Object(whole));
        assert!(!format!("{settings:?}").contains("None"), "{settings:?}");
        for property in properties.values() {
            assert!(property["title"].is_string() && property["description"].is_string(), "{property}");
        }
        assert_eq!(read(json!({})), AwsSettings::default());
        for name in properties.keys().filter(|name| name.to_lowercase().ends_with("endpointurl")) {
            assert_eq!(properties[name]["x-place"], true, "{name}");
        }
    }

    #[test]
    fn a_machines_identity_goes_to_aws_and_where_the_operator_says() {
        let host =
            HostSettings { ambient_endpoints: vec!["http://10.0.0.1:4566".to_owned()], ..HostSettings::default() };
        let lend = |region: &str, name: &str, url: &str| {
            let settings = json!({"region": region, "authentication": "WORKLOAD_IDENTITY", name: url});
            read(settings).may_lend(&host).map_err(|failure| failure.code)
        };
        for (region, name, url) in [
            ("eu-west-1", "roleSessionName", "x"),
            ("cn-north-1", "roleSessionName", "x"),
            ("eu-west-1", "stsEndpointUrl", "https://sts.amazonaws.com"),
            ("eu-west-1", "stsEndpointUrl", "https://vpce-0a1-b2.sts.eu-west-1.vpce.amazonaws.com"),
            ("us-gov-west-1", "sagemakerEndpointUrl", "https://api-fips.sagemaker.us-gov-west-1.amazonaws.com/"),
            ("eu-west-1", "endpointUrl", "http://10.0.0.1:4566/"),
        ] {
            assert_eq!(lend(region, name, url), Ok(()), "{url}");
        }
        for name in ["endpointUrl", "stsEndpointUrl", "sagemakerEndpointUrl", "runtimeEndpointUrl", "ecrEndpointUrl"] {
            for url in [
                "https://evil.example",
                "http://sts.eu-west-1.amazonaws.com",
                "https://abc.execute-api.eu-west-1.amazonaws.com",
                "https://sts.eu-west-1.amazonaws.com.evil.example",
                "https://bucket.s3.amazonaws.com",
                "http://10.0.0.1:4567",
            ] {
                assert_eq!(lend("eu-west-1", name, url), Err(codes::AMBIENT_CREDENTIALS_OFF), "{name} {url}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let told = |settings: Value| -> Vec<String> {
            read(settings).problems().into_iter().map(|problem| problem.message).collect()
        };
        assert_eq!(told(json!({})).len(), 3);
        assert_eq!(told(json!({"authentication": "WORKLOAD_IDENTITY", "region": "eu-west-1"})), [""; 0]);
        let keys = json!({"region": "cn-north-1", "accessKeyId": "AKIA", "secretAccessKey": {"$secret": "s"},
            "roleArn": "arn:aws:iam::123456789012:role/r"});
        assert!(told(keys)[0].contains("aws-cn"));
        let alone = json!({"region": "eu-west-1", "authentication": "PROFILE", "externalId": "x1"});
        assert!(told(alone)[0].contains("externalId"));
    }
}
