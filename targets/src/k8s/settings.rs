//! What an administrator says of a cluster, and what a deployment says otherwise: the typed form of `settings.json` and `deployment.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::secret_ref::SecretRef;

/// An infrastructure's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) cluster: Cluster,
    pub(super) k8s_namespace: String,
    pub(super) registry_host: String,
    pub(super) registry_plain_http: bool,
    pub(super) registry_certificate_authority: Option<String>,
    pub(super) registry_user: Option<String>,
    pub(super) registry_password: Option<SecretRef>,
    pub(super) make_pull_secret: Option<bool>,
    pub(super) images_name_prefix: String,
    pub(super) base_image_tag: String,
    pub(super) pre_push_mode: PrePushMode,
    pub(super) image_pull_secrets: Vec<String>,
    pub(super) conflicts: Conflicts,
    pub(super) default_service_exposition: Option<Exposition>,
    pub(super) workload: Workload,
}

/// How the cluster is reached, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) access: Access,
    pub(super) api_server: Option<String>,
    pub(super) certificate_authority: Option<String>,
    pub(super) trust_all_certificates: bool,
    pub(super) token: Option<SecretRef>,
    pub(super) kubeconfig: Option<SecretRef>,
    pub(super) context: Option<String>,
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Access {
    /// The settings name the API server and hold a token.
    #[default]
    Token,
    /// A kubeconfig that holds everything in itself.
    Kubeconfig,
    /// The service account of the Pod that Slipway runs in.
    InCluster,
}

/// What is done before an image is pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum PrePushMode {
    #[default]
    None,
    /// A repository is made, with a login of an hour. Refused: see `problems`.
    Ecr,
}

/// What happens when another field manager holds a field that we set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Conflicts {
    #[default]
    Fail,
    Force,
}

/// What both an infrastructure and a deployment may say of what runs. A deployment's wins, value by value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) replicas: Option<u32>,
    pub(super) autoscaling: Option<Autoscaling>,
    pub(super) resources: Option<Resources>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) secret_env: Vec<SecretVariable>,
    pub(super) service_account_name: Option<String>,
    pub(super) disruption_budget: Option<DisruptionBudget>,
    pub(super) topology_spread: Option<Vec<TopologySpread>>,
    pub(super) progress_deadline_seconds: Option<u32>,
    pub(super) failing_pod_seconds: Option<u32>,
    pub(super) unschedulable_seconds: Option<u32>,
}

/// What a deployment may set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct DeploymentSettings {
    pub(super) service_exposition: Option<Exposition>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) workload: Workload,
}

/// A variable whose value is a secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct SecretVariable {
    pub(super) name: String,
    pub(super) value: Option<SecretRef>,
}

/// How the number of Pods follows their load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Autoscaling {
    pub(super) enabled: Option<bool>,
    pub(super) min_replicas: Option<u32>,
    pub(super) max_replicas: Option<u32>,
    pub(super) target_cpu_utilization: Option<u32>,
    pub(super) target_memory: Option<String>,
}

impl Autoscaling {
    /// This, where `over` says nothing else.
    fn under(&self, over: &Self) -> Self {
        Self {
            enabled: over.enabled.or(self.enabled),
            min_replicas: over.min_replicas.or(self.min_replicas),
            max_replicas: over.max_replicas.or(self.max_replicas),
            target_cpu_utilization: over.target_cpu_utilization.or(self.target_cpu_utilization),
            target_memory: over.target_memory.clone().or_else(|| self.target_memory.clone()),
        }
    }

    /// At least so many Pods.
    pub(super) fn least(&self) -> u32 {
        self.min_replicas.unwrap_or(1)
    }

    /// At most so many.
    pub(super) fn most(&self) -> u32 {
        self.max_replicas.unwrap_or(3)
    }
}

/// What one Pod asks for, and what it gets at most, as Kubernetes quantities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Resources {
    pub(super) cpu_request: Option<String>,
    pub(super) cpu_limit: Option<String>,
    pub(super) memory_request: Option<String>,
    pub(super) memory_limit: Option<String>,
}

impl Resources {
    /// This, where `over` says nothing else.
    fn under(&self, over: &Self) -> Self {
        let of = |low: &Option<String>, high: &Option<String>| high.clone().or_else(|| low.clone());
        Self {
            cpu_request: of(&self.cpu_request, &over.cpu_request),
            cpu_limit: of(&self.cpu_limit, &over.cpu_limit),
            memory_request: of(&self.memory_request, &over.memory_request),
            memory_limit: of(&self.memory_limit, &over.memory_limit),
        }
    }
}

/// How many Pods a drained node may take away at once: a number, or a percentage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct DisruptionBudget {
    pub(super) enabled: Option<bool>,
    pub(super) min_available: Option<String>,
    pub(super) max_unavailable: Option<String>,
}

impl DisruptionBudget {
    /// This, where `over` says nothing else. Only one of the two amounts can be: who says one takes the place of both.
    fn under(&self, over: &Self) -> Self {
        let amounts = if over.min_available.is_some() || over.max_unavailable.is_some() { over } else { self };
        Self {
            enabled: over.enabled.or(self.enabled),
            min_available: amounts.min_available.clone(),
            max_unavailable: amounts.max_unavailable.clone(),
        }
    }
}

/// How Pods are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct TopologySpread {
    pub(super) topology_key: String,
    pub(super) max_skew: u32,
    pub(super) when_unsatisfiable: WhenUnsatisfiable,
}

impl Default for TopologySpread {
    fn default() -> Self {
        Self { topology_key: String::new(), max_skew: 1, when_unsatisfiable: WhenUnsatisfiable::ScheduleAnyway }
    }
}

/// What becomes of a Pod that can't be placed evenly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WhenUnsatisfiable {
    #[default]
    ScheduleAnyway,
    DoNotSchedule,
}

/// How a service is reached from outside its Pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Exposition {
    #[serde(rename = "type")]
    pub(super) kind: ExpositionType,
    pub(super) params: ExpositionParams,
}

/// The ways of exposing a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ExpositionType {
    #[default]
    ClusterIp,
    NodePort,
    LoadBalancer,
    Ingress,
    /// Own YAML with variables. Infrastructures alone.
    Yaml,
}

/// What the ways of exposing want to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct ExpositionParams {
    pub(super) port: Option<u16>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) node_port: Option<u16>,
    pub(super) node_address: Option<String>,
    pub(super) source_ranges: Vec<String>,
    pub(super) host: Option<String>,
    pub(super) path: Option<String>,
    pub(super) path_type: Option<PathType>,
    pub(super) ingress_class_name: Option<String>,
    pub(super) tls_secret_name: Option<String>,
    pub(super) yaml: Option<String>,
}

/// How an Ingress reads its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PathType {
    #[default]
    Prefix,
    Exact,
    ImplementationSpecific,
}

impl Settings {
    /// Reads settings that the schema lets through.
    pub(super) fn read(settings: &Map<String, Value>) -> Result<Self, String> {
        serde_json::from_value(Value::Object(settings.clone())).map_err(|error| error.to_string())
    }

    /// Where everything is put.
    pub(super) fn namespace(&self) -> &str {
        if self.k8s_namespace.is_empty() { "default" } else { &self.k8s_namespace }
    }
}

impl DeploymentSettings {
    /// Reads settings that the schema lets through.
    pub(super) fn read(settings: &Map<String, Value>) -> Result<Self, String> {
        serde_json::from_value(Value::Object(settings.clone())).map_err(|error| error.to_string())
    }
}

impl Workload {
    /// This, where `over` says nothing else, value by value.
    pub(super) fn under(&self, over: &Self) -> Self {
        fn both<T: Clone>(low: &Option<T>, high: &Option<T>, under: impl Fn(&T, &T) -> T) -> Option<T> {
            match (low, high) {
                (Some(low), Some(high)) => Some(under(low, high)),
                (low, high) => high.clone().or_else(|| low.clone()),
            }
        }
        let merged = |low: &BTreeMap<String, String>, high: &BTreeMap<String, String>| {
            low.iter().chain(high).map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>()
        };
        let secret = |name: &str| over.secret_env.iter().any(|variable| variable.name == name);
        // A name means one thing: a deployment's plain variable takes the place of an infrastructure's secret one, and the reverse.
        let kept = self.secret_env.iter().filter(|low| !secret(&low.name) && !over.env.contains_key(&low.name));
        let secret_env: Vec<_> = kept.chain(&over.secret_env).cloned().collect();
        let mut env = merged(&self.env, &over.env);
        env.retain(|name, _| !secret(name));
        Self {
            replicas: over.replicas.or(self.replicas),
            autoscaling: both(&self.autoscaling, &over.autoscaling, Autoscaling::under),
            resources: both(&self.resources, &over.resources, Resources::under),
            labels: merged(&self.labels, &over.labels),
            annotations: merged(&self.annotations, &over.annotations),
            env,
            secret_env,
            service_account_name: over.service_account_name.clone().or_else(|| self.service_account_name.clone()),
            disruption_budget: both(&self.disruption_budget, &over.disruption_budget, DisruptionBudget::under),
            topology_spread: over.topology_spread.clone().or_else(|| self.topology_spread.clone()),
            progress_deadline_seconds: over.progress_deadline_seconds.or(self.progress_deadline_seconds),
            failing_pod_seconds: over.failing_pod_seconds.or(self.failing_pod_seconds),
            unschedulable_seconds: over.unschedulable_seconds.or(self.unschedulable_seconds),
        }
    }

    /// The autoscaling that is on.
    pub(super) fn scaling(&self) -> Option<&Autoscaling> {
        self.autoscaling.as_ref().filter(|scaling| scaling.enabled.unwrap_or(true))
    }

    /// The disruption budget that is on.
    pub(super) fn budget(&self) -> Option<&DisruptionBudget> {
        self.disruption_budget.as_ref().filter(|budget| budget.enabled.unwrap_or(true))
    }

    /// A rollout that makes no progress for so long has failed, in seconds.
    pub(super) fn progress_deadline(&self) -> u32 {
        self.progress_deadline_seconds.unwrap_or(600)
    }

    /// Pods that fail for so long make the rollout fail, in seconds.
    pub(super) fn failing_pod(&self) -> u32 {
        self.failing_pod_seconds.unwrap_or(60)
    }

    /// Pods that find no place for so long make the rollout fail, in seconds.
    pub(super) fn unschedulable(&self) -> u32 {
        self.unschedulable_seconds.unwrap_or(300)
    }
}
