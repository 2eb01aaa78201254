//! One deployment on one cluster: what its settings come to, and the API server that they lead to.

use engine::{
    failure::{Failure, StepError, StepOutcome},
    secrets::Secret,
    step::{Audience, StepContext},
};
use serde_json::Value;

use super::{
    K8s, access,
    api::Api,
    manifests::{Goal, Manifest, config},
    names::{Names, OWNER},
    notes,
    objects::{Id, Kind},
    offered::Offered,
    settings::{DeploymentSettings, ExpositionType, Settings},
};
use crate::{
    codes,
    http::CallError,
    managed::opener::Opener,
    spec::DeploySpec,
    spec::SecretRef,
    target::{Look, Work},
};

/// What a step, or a look, works with.
pub(super) struct Place<'a> {
    pub(super) api: Api,
    pub(super) goal: Goal<'a>,
    pub(super) opener: Opener<'a>,
}

/// The settings of a spec, without a word to the cluster.
pub(super) fn goal<'a>(spec: &'a DeploySpec, offered: Offered) -> Result<Goal<'a>, StepError> {
    let unread = |error: String| {
        Failure::new(codes::SETTING_INVALID, "The settings are not as the platform's schema says them.").detail(error)
    };
    let settings = Settings::read(&spec.infrastructure.settings).map_err(unread)?;
    let service = spec.service.as_deref().ok_or_else(|| {
        Failure::new(
            codes::SETTING_INVALID,
            "A Kubernetes infrastructure runs API services, and this is no deployment of one.",
        )
    })?;
    let own = DeploymentSettings::read(&service.settings).map_err(unread)?;
    // Whoever may deploy must not make objects of their own with the infrastructure's credentials.
    if own.service_exposition.as_ref().is_some_and(|own| own.kind == ExpositionType::Yaml) {
        return Err(invalid("serviceExposition.type: own YAML is the infrastructure's alone.".to_owned()));
    }
    let workload = settings.workload.under(&own.workload);
    let exposition = own.service_exposition.or_else(|| settings.default_service_exposition.clone()).unwrap_or_default();
    let (names, properties) = (Names::of(spec), own.properties);
    Ok(Goal { spec, service, names, settings, workload, exposition, properties, offered })
}

impl<'a> Place<'a> {
    pub(super) async fn of_work(k8s: &K8s, work: &'a Work<'a>) -> Result<Self, StepError> {
        Self::open(k8s, work.spec, Opener::Run(work.run)).await
    }

    pub(super) async fn of_look(k8s: &K8s, look: Look<'a>) -> Result<Self, StepError> {
        Self::open(k8s, look.spec, Opener::Look(look.secrets)).await
    }

    async fn open(k8s: &K8s, spec: &'a DeploySpec, opener: Opener<'a>) -> Result<Self, StepError> {
        let mut goal = goal(spec, Offered::default())?;
        let api = api(k8s, &goal.settings, opener).await?;
        goal.offered = Offered::new(api.group_versions().await?);
        Ok(Self { api, goal, opener })
    }

    /// The Deployment.
    pub(super) fn deployment_id(&self) -> Id {
        kind("apps/v1", "Deployment").named(&self.goal.names.base)
    }

    /// The Deployment, if there is one and it is ours.
    pub(super) async fn deployment(&self) -> Result<Option<Value>, StepError> {
        self.owned(&self.deployment_id()).await
    }

    /// The object, if there is one; refused if it is not ours.
    pub(super) async fn owned(&self, id: &Id) -> Result<Option<Value>, StepError> {
        let found = self.api.get(id).await?;
        match &found {
            Some(object) if !self.goal.names.owns(object) => Err(taken(id).permanent()),
            _ => Ok(found),
        }
    }

    /// The Pods of this deployment.
    pub(super) async fn pods(&self) -> Result<Vec<Value>, CallError> {
        self.api.list(&kind("v1", "Pod"), &self.goal.names.selector()).await
    }

    /// The values of the secret variables.
    pub(super) async fn secret_values(&self) -> Result<Vec<(String, Secret)>, StepError> {
        let mut values = Vec::new();
        for (name, references) in config::secret_variables(&self.goal) {
            let mut lines = Vec::new();
            for reference in &references {
                lines.push(self.opener.open(&SecretRef { id: reference.clone() }).await?);
            }
            let mut joined = String::new();
            for (n, line) in lines.iter().enumerate() {
                if n > 0 {
                    joined.push('\n');
                }
                joined.push_str(line.expose());
            }
            values.push((name, Secret::from(joined)));
        }
        Ok(values)
    }

    /// The Secrets, with what they hold.
    pub(super) async fn secrets(&self) -> Result<Vec<Manifest>, StepError> {
        let values = self.secret_values().await?;
        let mut all: Vec<_> = config::secret(&self.goal, &values).and_then(Manifest::plain).into_iter().collect();
        if config::login_name(&self.goal).is_some()
            && let Some(password) = &self.goal.settings.registry_password
        {
            let password = self.opener.open(password).await?;
            all.extend(config::login(&self.goal, &password).and_then(Manifest::plain));
        }
        Ok(all)
    }
}

/// The API server that these settings lead to.
pub(super) async fn api(k8s: &K8s, settings: &Settings, opener: Opener<'_>) -> Result<Api, StepError> {
    if let Some((path, problem)) = access::problems(&settings.cluster).into_iter().next() {
        return Err(Failure::new(codes::SETTING_INVALID, format!("{path}: {problem}")).into());
    }
    let reach = access::reach(&settings.cluster, &k8s.tools.host, &k8s.inside, opener).await?;
    Ok(Api::new(&k8s.http, reach, settings.namespace())?)
}

/// A kind of the list that is always known.
pub(super) fn kind(version: &'static str, name: &'static str) -> Kind {
    Kind::new(version, name).unwrap_or(Kind { version: version.to_owned(), name: name.to_owned(), plural: "" })
}

/// Something that is not ours has the name.
pub(super) fn taken(id: &Id) -> Failure {
    let message = format!(
        "The {id} is there already, and Slipway did not make it for this deployment (it lacks the label {OWNER}). It is left alone: remove or rename it, or use another namespace."
    );
    Failure::new(codes::PLATFORM_NAME_TAKEN, message)
}

/// What a text of ours says is wrong.
pub(super) fn invalid(message: String) -> StepError {
    Failure::new(codes::SETTING_INVALID, message).into()
}

/// A line for whoever may see the update.
pub(super) async fn log(run: &dyn StepContext, line: String) {
    run.log(Audience::Everyone, line).await;
}

/// The image that this run pushed, from its notes; else the one that is live.
pub(super) fn image(run: &dyn StepContext) -> Result<String, StepError> {
    notes::read::<notes::Image>(run, notes::IMAGE).map(|image| image.reference).ok_or_else(|| {
        let message = "The image of this version was not pushed in this update. Start the update again.";
        Failure::new(codes::K8S_OBJECT_MISSING, message).into()
    })
}

/// The image that a Deployment runs.
pub(super) fn live_image(deployment: &Value) -> Option<&str> {
    deployment.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str)
}

/// Done, with these warnings.
pub(super) fn done(output: Value, warnings: Vec<String>) -> StepOutcome {
    StepOutcome::Done { output, warnings }
}
