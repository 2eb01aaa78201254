//! What is wrong with settings that the schema lets through, by path.

use serde_json::{Map, Value};

use crate::{
    http::{BlockList, NodeUrl, is_certificates},
    image::reference::Reference,
};

use super::{
    access,
    manifests::{Goal, config},
    names::Names,
    own_yaml, push,
    settings::{Access, DeploymentSettings, Exposition, ExpositionType, PrePushMode, Settings, Workload},
    variables::Variables,
    yaml,
};

type Problems = Vec<(String, String)>;

/// Of an infrastructure's settings alone.
pub(super) fn of_settings(settings: &Map<String, Value>, blocked: &BlockList) -> Problems {
    let settings = match Settings::read(settings) {
        Ok(settings) => settings,
        Err(error) => return vec![(String::new(), error)],
    };
    let mut all = certain(&settings);
    if let Some(url) = settings.cluster.api_server.as_deref().filter(|url| !url.trim().is_empty())
        && let Err(error) = NodeUrl::parse(url, blocked)
    {
        all.push(("cluster.apiServer".to_owned(), error.to_string()));
    }
    of_workload(&settings.workload, "workload", &mut all);
    if let Some(exposition) = &settings.default_service_exposition {
        of_exposition(exposition, "defaultServiceExposition", settings.namespace(), &mut all);
    }
    all
}

fn certain(settings: &Settings) -> Problems {
    let mut all = access::problems(&settings.cluster);
    if let Some(text) = settings.cluster.certificate_authority.as_deref() {
        of_authority(text, "cluster.certificateAuthority", &mut all);
    }
    if settings.pre_push_mode == PrePushMode::Ecr {
        let said = "ECR is not supported: its logins end after 12 hours. Make the repository yourself, set NONE, and let Slipway sign in with a login that lasts.";
        all.push(("prePushMode".to_owned(), said.to_owned()));
    }
    if let Some(reference) = Some(&settings.base_image_tag).filter(|tag| !tag.is_empty())
        && let Err(error) = push::base_name("registry.invalid", reference).parse::<Reference>()
    {
        all.push(("baseImageTag".to_owned(), error.to_string()));
    }
    if let Some(text) = settings.registry_certificate_authority.as_deref() {
        of_authority(text, "registryCertificateAuthority", &mut all);
    }
    if settings.registry_user.as_deref().is_some_and(|user| !user.is_empty()) != settings.registry_password.is_some() {
        all.push(("registryPassword".to_owned(), "A registry's user and password go together.".to_owned()));
    }
    all
}

/// A certificate, or several of them, as PEM.
fn of_authority(text: &str, path: &str, all: &mut Problems) {
    if !text.trim().is_empty() && !is_certificates(text.as_bytes()) {
        all.push((path.to_owned(), "This is no certificate in PEM form (-----BEGIN CERTIFICATE-----).".to_owned()));
    }
}

/// Of a deployment's settings, on an infrastructure with these.
pub(super) fn of_deployment(infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Problems {
    // What is wrong with the infrastructure's own is told there.
    let Ok(settings) = Settings::read(infrastructure) else { return Vec::new() };
    let untyped = own.get("serviceExposition").is_some_and(|exposition| exposition.get("type").is_none());
    let own = match DeploymentSettings::read(own) {
        Ok(own) => own,
        Err(error) => return vec![(String::new(), error)],
    };
    let mut all = Vec::new();
    // Its lists have places of their own; numbers mean something only beside the infrastructure's.
    let lists = Workload { autoscaling: None, disruption_budget: None, ..own.workload.clone() };
    of_workload(&lists, "workload", &mut all);
    if all.is_empty() {
        of_workload(&settings.workload.under(&own.workload), "workload", &mut all);
    }
    if untyped {
        let said = "This is needed: a deployment's own exposition replaces all that the infrastructure says of it.";
        all.push(("serviceExposition.type".to_owned(), said.to_owned()));
    }
    if let Some(exposition) = &own.service_exposition {
        if exposition.kind == ExpositionType::Yaml {
            all.push(("serviceExposition.type".to_owned(), "Own YAML is the infrastructure's alone.".to_owned()));
        }
        of_exposition(exposition, "serviceExposition", settings.namespace(), &mut all);
    }
    all
}

/// What is missing from an infrastructure's settings before anything can be deployed.
pub(super) fn missing(settings: &Settings) -> Problems {
    let cluster = &settings.cluster;
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let wanted = [
        (cluster.access != Access::Token || given(&cluster.api_server), "cluster.apiServer", "the API server's URL"),
        (cluster.access != Access::Token || cluster.token.is_some(), "cluster.token", "a token"),
        (cluster.access != Access::Kubeconfig || cluster.kubeconfig.is_some(), "cluster.kubeconfig", "a kubeconfig"),
        (!settings.registry_host.is_empty(), "registryHost", "the registry that images are pushed to"),
        (!settings.base_image_tag.is_empty(), "baseImageTag", "the image that services are laid on"),
    ];
    let lacking = wanted.into_iter().filter(|(there, _, _)| !there);
    lacking.map(|(_, path, what)| (path.to_owned(), format!("This must say {what}."))).collect()
}

/// Whether the settings say where the cluster is, and as whom.
pub(super) fn can_reach(settings: &Settings) -> bool {
    access::problems(&settings.cluster).is_empty()
        && missing(settings).iter().all(|(path, _)| !path.starts_with("cluster."))
}

/// Of both together, as one deployment meets them.
pub(super) fn of_goal(goal: &Goal<'_>) -> Problems {
    let mut all = certain(&goal.settings);
    of_workload(&goal.workload, "workload", &mut all);
    of_exposition(&goal.exposition, "serviceExposition", goal.namespace(), &mut all);
    for (name, references) in config::secret_variables(goal) {
        if references.is_empty() {
            all.push((format!("authorization ({name})"), "API keys are demanded, and there is none.".to_owned()));
        }
    }
    if all.is_empty()
        && let Err(said) = goal.exposing()
    {
        let own = goal.exposition.kind == ExpositionType::Yaml;
        let path = if own { "defaultServiceExposition.params.yaml" } else { "serviceExposition.params" };
        all.push((path.to_owned(), said));
    }
    all
}

fn of_workload(workload: &Workload, path: &str, all: &mut Problems) {
    let mut tell = |at: &str, said: &str| all.push((format!("{path}.{at}"), said.to_owned()));
    if let Some(scaling) = workload.scaling()
        && scaling.least() > scaling.most()
    {
        tell("autoscaling.maxReplicas", "This must be at least minReplicas.");
    }
    if let Some(budget) = workload.budget()
        && budget.min_available.is_some()
        && budget.max_unavailable.is_some()
    {
        tell("disruptionBudget", "Set minAvailable or maxUnavailable, not both.");
    }
    for (n, variable) in workload.secret_env.iter().enumerate() {
        let at = |field: &str| format!("secretEnv[{n}].{field}");
        if variable.name.is_empty() {
            tell(&at("name"), "The variable needs a name.");
        } else if matches!(variable.name.as_str(), config::KEYS | config::AUDIT_KEY) {
            tell(&at("name"), "This name is Slipway's own.");
        } else if workload.env.contains_key(&variable.name)
            || workload.secret_env[..n].iter().any(|before| before.name == variable.name)
        {
            tell(&at("name"), "There is another variable of this name.");
        }
        if variable.value.is_none() {
            tell(&at("value"), "The variable needs a value.");
        }
    }
    if workload.env.keys().any(|name| matches!(name.as_str(), config::KEYS | config::AUDIT_KEY)) {
        tell("env", "The names SLIPWAY_SERVICE_KEYS and SLIPWAY_AUDIT_KEY are Slipway's own.");
    }
    for (n, rule) in workload.topology_spread.iter().flatten().enumerate() {
        if rule.topology_key.is_empty() {
            tell(
                &format!("topologySpread[{n}].topologyKey"),
                "The rule needs the label of nodes that Pods are spread over.",
            );
        }
    }
}

fn of_exposition(exposition: &Exposition, path: &str, namespace: &str, all: &mut Problems) {
    let params = &exposition.params;
    let mut tell = |at: &str, said: String| all.push((format!("{path}.params.{at}"), said));
    let texts = [("host", &params.host), ("path", &params.path), ("yaml", &params.yaml)];
    for (at, text) in texts {
        if let Some(unknown) = text.as_deref().and_then(Variables::unknown_in) {
            tell(at, format!("There is no variable {unknown}."));
        }
    }
    for (name, text) in &params.annotations {
        if let Some(unknown) = Variables::unknown_in(text) {
            tell(&format!("annotations.{name}"), format!("There is no variable {unknown}."));
        }
    }
    if exposition.kind == ExpositionType::Yaml {
        match params.yaml.as_deref().filter(|text| !text.trim().is_empty()) {
            None => tell("yaml", "This must hold the objects that expose the Pods.".to_owned()),
            Some(text) if text.len() > yaml::MOST_BYTES => tell("yaml", yaml::YamlError::TooLong.to_string()),
            Some(text) if Variables::unknown_in(text).is_some() => {}
            Some(text) => {
                let names = Names { base: "slipway-trial-00000000".to_owned(), owner: "0".repeat(16) };
                let variables = Variables::trial(text, &names);
                // What deployments put in for their properties may be anything: then only its form is looked at.
                let tried = if text.contains("${deployment:") {
                    let replaced = variables.replace(text);
                    replaced.and_then(|text| yaml::documents(&text).map(drop).map_err(|error| error.to_string()))
                } else {
                    own_yaml::objects(text, &variables, namespace, &Map::new(), &names).map(drop)
                };
                if let Err(error) = tried {
                    tell("yaml", format!("This {error}."));
                }
            }
        }
    }
}
