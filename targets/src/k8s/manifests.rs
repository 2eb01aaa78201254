//! The objects that make a service run, as JSON: pure functions of what is wanted. One kind a file.
//!
//! A content that Pods read (variables, keys, the registry's login) lies in an object whose name says which content, and which never changes: so a Deployment that
//! is put back finds what it ran with.

pub(super) mod autoscaler;
pub(super) mod budget;
pub(super) mod config;
pub(super) mod deployment;
pub(super) mod ingress;
pub(super) mod pods;
pub(super) mod service;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    names::{APPLIED, DEPLOYMENT_ID, KINDS, Names, is_own},
    objects::Id,
    offered::{Offered, is_optional},
    own_yaml::{self, Hints},
    settings::{Exposition, ExpositionType, Settings, Workload},
    variables::{Given, Variables},
};
use crate::{service::ServiceSpec, spec::DeploySpec};

/// What is to be there of one deployment.
pub(super) struct Goal<'a> {
    pub(super) spec: &'a DeploySpec,
    pub(super) service: &'a ServiceSpec,
    pub(super) names: Names,
    pub(super) settings: Settings,
    pub(super) workload: Workload,
    pub(super) exposition: Exposition,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) offered: Offered,
}

/// One object to apply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    pub(super) id: Id,
    pub(super) body: Value,
}

/// The port of a Service, unless the settings say another.
pub(super) const PORT: u16 = 12_000;

impl Goal<'_> {
    pub(super) fn namespace(&self) -> &str {
        self.settings.namespace()
    }

    pub(super) fn port(&self) -> u16 {
        self.exposition.params.port.unwrap_or(PORT)
    }

    /// The labels of every object.
    pub(super) fn labels(&self) -> Map<String, Value> {
        let labels = self.names.labels(&self.service.service_id, &self.workload.labels);
        labels.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
    }

    /// `metadata` of an object of this name.
    pub(super) fn metadata(&self, name: &str) -> Map<String, Value> {
        let annotations = json!({DEPLOYMENT_ID: self.spec.deployment});
        let metadata = [
            ("name", json!(name)),
            ("namespace", json!(self.namespace())),
            ("labels", Value::Object(self.labels())),
            ("annotations", annotations),
        ];
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    pub(super) fn variables(&self) -> Variables {
        let mut annotations = self.exposition.params.annotations.clone();
        annotations.retain(|name, _| !is_own(name));
        Variables::of(&Given {
            names: &self.names,
            spec: self.spec,
            service: self.service,
            port: self.port(),
            labels: &self.names.labels(&self.service.service_id, &self.workload.labels),
            annotations: &annotations,
            properties: &self.properties,
        })
    }

    /// The objects that let callers in, and what own YAML says of where.
    pub(super) fn exposing(&self) -> Result<(Vec<Manifest>, Hints), String> {
        let (bodies, hints) = match self.exposition.kind {
            ExpositionType::Yaml => {
                let text = self.exposition.params.yaml.as_deref().unwrap_or_default();
                own_yaml::objects(text, &self.variables(), self.namespace(), &self.labels(), &self.names)
                    .map_err(|error| format!("The YAML of the exposition {error}."))?
            }
            ExpositionType::Ingress => (vec![service::manifest(self)?, ingress::manifest(self)?], Hints::default()),
            ExpositionType::ClusterIp | ExpositionType::NodePort | ExpositionType::LoadBalancer => {
                (vec![service::manifest(self)?], Hints::default())
            }
        };
        Ok((bodies.into_iter().filter_map(Manifest::restorable).collect(), hints))
    }

    /// The kinds beside the usual ones of which there is to be something.
    pub(super) fn optional_kinds(&self) -> Vec<String> {
        let exposing = self.exposing().map(|(manifests, _)| manifests).unwrap_or_default();
        let kinds = exposing.into_iter().map(|manifest| manifest.id.kind).filter(is_optional).map(|kind| kind.name);
        kinds.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Everything but what is secret, in the order in which it is applied.
    pub(super) fn manifests(&self, image: &str, live_replicas: Option<u64>) -> Result<Vec<Manifest>, String> {
        let mut all: Vec<Manifest> = config::variables(self).into_iter().filter_map(Manifest::plain).collect();
        all.extend(self.exposing()?.0);
        all.extend(budget::manifest(self)?.and_then(Manifest::restorable));
        let mut deployment = deployment::manifest(self, image, live_replicas);
        let optional = self.optional_kinds();
        if !optional.is_empty() {
            deployment["metadata"]["annotations"][KINDS] = json!(optional.join(" "));
        }
        all.extend(Manifest::restorable(deployment));
        all.extend(autoscaler::manifest(self)?.and_then(Manifest::restorable));
        Ok(all)
    }

    /// Whether an object belongs to what is wanted, Secrets included.
    pub(super) fn wants(&self, manifests: &[Manifest], id: &Id) -> bool {
        manifests.iter().any(|manifest| manifest.id.is(id)) || config::secret_ids(self).iter().any(|own| own.is(id))
    }
}

impl Manifest {
    /// As it is.
    pub(super) fn plain(body: Value) -> Option<Self> {
        Some(Self { id: Id::of(&body)?, body })
    }

    /// With a copy of itself as an annotation, so that it can be put back as it was applied.
    pub(super) fn restorable(mut body: Value) -> Option<Self> {
        let copy = body.to_string();
        let metadata = body.get_mut("metadata")?.as_object_mut()?;
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({})).as_object_mut()?;
        annotations.insert(APPLIED.to_owned(), Value::String(copy));
        Self::plain(body)
    }

    /// The manifest that a live object was applied with. None if it does not say, or says another object's.
    pub(super) fn of_live(live: &Value) -> Option<Self> {
        let copy = live.pointer("/metadata/annotations")?.get(APPLIED)?.as_str()?;
        let id = Id::of(live)?;
        let manifest = Self::restorable(serde_json::from_str(copy).ok()?)?;
        let same_place = manifest.body.pointer("/metadata/namespace") == live.pointer("/metadata/namespace");
        (manifest.id.is(&id) && same_place).then_some(manifest)
    }
}

/// Settings' annotations with what is ours taken out.
pub(super) fn annotations(of_settings: &BTreeMap<String, String>) -> Map<String, Value> {
    let fine = of_settings.iter().filter(|(name, _)| !is_own(name));
    fine.map(|(name, text)| (name.clone(), Value::String(text.clone()))).collect()
}
