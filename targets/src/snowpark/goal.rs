//! What an update wants there to be, found from its spec alone.

use serde_json::{Map, Value, json};

use super::{
    function::{Argument, DataType, ENDPOINT, Function, In},
    mark::{self, Mark},
    place::{Place, Problems, SPECIFICATION, environment},
    settings::{self, DeploymentSettings, Settings},
    site::Service,
    yaml,
};
use crate::{
    codes,
    image::contract::EndpointType,
    snowflake::ident::{Ident, block, literal, path},
    spec::{Authorization, DeploySpec, EndpointSpec, ServiceSpec},
    target::VersionShare,
};

/// The only container of a service.
pub(super) const CONTAINER: &str = "node";
/// Where the front in the container listens, and what it answers with a success once it can be queried.
const PORT: u16 = 8080;
const HEALTH: &str = "/health";
/// Of an id, so many characters stand in names.
const READABLE: usize = 60;
/// What the function takes where no arguments are named.
const WHOLE: &str = "FEATURES";

/// What there should be.
pub(super) struct Goal {
    /// The service's name.
    pub(super) service: Ident,
    pub(super) function: Function,
    pub(super) endpoint: EndpointSpec,
    pub(super) kind: EndpointType,
    /// Who may use it; empty leaves that alone.
    pub(super) grantees: Vec<Ident>,
    pub(super) image: Image,
    /// The specification, as YAML.
    pub(super) specification: String,
    /// The hash of what it says, which stands in it: however Snowflake writes it back, that shows which one is live.
    pub(super) specification_hash: String,
    pub(super) min_instances: u32,
    pub(super) max_instances: u32,
    pub(super) mark: Mark,
}

/// An image in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) name: String,
    /// Made of what goes into it.
    pub(super) tag: String,
    /// As specifications write it.
    pub(super) path: String,
}

/// By what a deployment's things are known as its.
pub(super) fn deployment_hash(spec: &DeploySpec) -> String {
    mark::hash(&["deployment", &spec.owner()])
}

impl Goal {
    /// Reads a spec; None if something is missing or wrong, which `problems` then says.
    pub(super) fn read(place: &Place, spec: &DeploySpec, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let Some(service) = spec.service.as_deref() else {
            problems.wrong("service", "only API services are deployed to Snowpark");
            return None;
        };
        let said: DeploymentSettings = match settings::read(&service.settings) {
            Ok(said) => said,
            Err(error) => {
                problems.wrong("settings", error);
                return None;
            }
        };
        may_call(service, problems);
        let endpoint = endpoint(service, problems);
        let kind = endpoint.as_ref().and_then(|one| kind(one, problems));
        let own = Own::read(&place.settings, &said, &service.service_id, problems);
        let Own { function, grantees, min_instances, max_instances } = own;
        if problems.0.len() > before {
            return None;
        }
        let (endpoint, function, kind) = (endpoint?, function?, kind?);
        let name = format!("SLIPWAY_{}_{}", readable(&spec.deployment), &deployment_hash(spec)[..8].to_uppercase());
        let image = image(place, spec, service, &endpoint, &function);
        let (specification, specification_hash) = specification(place, &said, &image);
        let versions: Vec<_> = service
            .versions
            .iter()
            .map(|one| VersionShare { version: one.version.clone(), probability: one.probability })
            .collect();
        let content = mark::hash_of(&json!({
            "specification": specification,
            "instances": [min_instances, max_instances, place.settings.auto_suspend_seconds],
            "warehouse": place.warehouse.as_ref().map(Ident::as_str),
            "integrations": place.integrations.iter().map(Ident::as_str).collect::<Vec<_>>(),
            "function": function,
            "versions": versions,
        }));
        let mark = Mark {
            deployment: deployment_hash(spec),
            content,
            tag: image.tag.clone(),
            versions,
            function: function.clone(),
        };
        let service = problems.checked("service", Ident::exact(&name))?;
        Some(Self {
            service,
            function,
            endpoint,
            kind,
            grantees,
            image,
            specification,
            specification_hash,
            min_instances,
            max_instances,
            mark,
        })
    }

    /// Whether the service of this mark is not what the mark says: an update ended between its statements, or somebody changed it.
    pub(super) fn is_half(&self, place: &Place, live: &Service) -> bool {
        let specification = &live.spec.spec_text;
        let other = !specification.is_empty() && !specification.contains(&self.specification_hash);
        let is_other = |found: Option<u32>, wanted: u32| found.is_some_and(|found| found != wanted);
        other
            || live.warehouse() != place.warehouse
            || live.integrations() != sorted(&place.integrations)
            || is_other(live.min_instances, self.min_instances)
            || is_other(live.max_instances, self.max_instances)
            || is_other(live.auto_suspend_secs, place.settings.auto_suspend_seconds)
    }

    /// The body that makes the service.
    pub(super) fn body(&self, place: &Place) -> Value {
        let mut body = json!({
            "name": self.service.rest(),
            "compute_pool": place.pool.rest(),
            "spec": {"spec_type": "from_inline", "spec_text": self.specification},
            "min_instances": self.min_instances,
            "max_instances": self.max_instances,
            "auto_suspend_secs": place.settings.auto_suspend_seconds,
            "auto_resume": true,
            "comment": self.mark.comment(),
        });
        if let Some(warehouse) = &place.warehouse {
            body["query_warehouse"] = warehouse.rest().into();
        }
        if !place.integrations.is_empty() {
            body["external_access_integrations"] = place.integrations.iter().map(Ident::rest).collect();
        }
        body
    }

    /// The statements that make a service that is there into this one; the last one writes the mark.
    pub(super) fn alter(&self, place: &Place, live: &Service) -> Vec<String> {
        let properties = Properties {
            min: self.min_instances,
            max: self.max_instances,
            suspend: place.settings.auto_suspend_seconds,
            resume: true,
            warehouse: place.warehouse.as_ref(),
            integrations: &place.integrations,
            comment: &self.mark.comment(),
        };
        properties.alter(&self.service_path(place), &self.specification, live)
    }

    /// The whole name of the service in SQL.
    pub(super) fn service_path(&self, place: &Place) -> String {
        path(&[&place.database, &place.schema, &self.service])
    }
}

/// What a deployment's own settings come to, over the infrastructure's.
struct Own {
    function: Option<Function>,
    grantees: Vec<Ident>,
    min_instances: u32,
    max_instances: u32,
}

impl Own {
    fn read(settings: &Settings, said: &DeploymentSettings, service_id: &str, problems: &mut Problems) -> Self {
        environment("environment", &said.environment, problems);
        let function = function(service_id, said, problems);
        let mut grantees = Vec::new();
        let roles = if said.grant_usage_to.is_empty() { &settings.grant_usage_to } else { &said.grant_usage_to };
        for (n, role) in roles.iter().enumerate() {
            grantees.extend(problems.name(&format!("grantUsageTo[{n}]"), role, "name a role, or take the entry away."));
        }
        let grantees = sorted(&grantees);
        let or = |own: u32, other: u32| if own == 0 { other } else { own };
        let min_instances = or(said.min_instances, settings.min_instances);
        let max_instances = or(said.max_instances, settings.max_instances);
        if max_instances < min_instances {
            problems.wrong("maxInstances", "must be at least minInstances");
        }
        Self { function, grantees, min_instances, max_instances }
    }
}

/// What of a deployment's own settings that the schema lets through can't be, by path.
pub(super) fn wrong(infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
    let mut problems = Problems::default();
    match settings::read::<DeploymentSettings>(own) {
        Ok(said) => {
            // What is wrong with the infrastructure's own is told where that is saved.
            let settings = settings::read(infrastructure).unwrap_or_default();
            Own::read(&settings, &said, "service", &mut problems);
        }
        Err(error) => problems.wrong("settings", error),
    }
    problems.wrong_by_path()
}

/// What a service has beside its specification.
pub(super) struct Properties<'a> {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) suspend: u32,
    /// Whether a query wakes it up.
    pub(super) resume: bool,
    pub(super) warehouse: Option<&'a Ident>,
    pub(super) integrations: &'a [Ident],
    pub(super) comment: &'a str,
}

impl Properties<'_> {
    /// The statements that give a service this specification and these properties. What is to go goes first: once it is gone, its statement is none of them any more,
    /// and whoever goes on begins with the next.
    pub(super) fn alter(&self, service: &str, specification: &str, live: &Service) -> Vec<String> {
        let specification = format!("ALTER SERVICE {service} FROM SPECIFICATION {}", block(specification));
        self.unset(service, live).into_iter().chain([specification, self.set(service)]).collect()
    }

    fn unset(&self, service: &str, live: &Service) -> Option<String> {
        let gone = [
            (", QUERY_WAREHOUSE", self.warehouse.is_none() && live.warehouse().is_some()),
            (", EXTERNAL_ACCESS_INTEGRATIONS", self.integrations.is_empty() && !live.integrations().is_empty()),
        ];
        let gone: String = gone.into_iter().filter(|(_, gone)| *gone).map(|(property, _)| property).collect();
        let properties = gone.strip_prefix(", ")?;
        Some(format!("ALTER SERVICE {service} UNSET {properties}"))
    }

    fn set(&self, service: &str) -> String {
        let warehouse = self.warehouse.map(|name| format!(" QUERY_WAREHOUSE = {}", name.sql())).unwrap_or_default();
        // An empty list is no value that may be set.
        let integrations = if self.integrations.is_empty() {
            String::new()
        } else {
            let names: Vec<_> = self.integrations.iter().map(Ident::sql).collect();
            format!(" EXTERNAL_ACCESS_INTEGRATIONS = ({})", names.join(", "))
        };
        format!(
            "ALTER SERVICE {service} SET MIN_INSTANCES = {} MAX_INSTANCES = {} AUTO_SUSPEND_SECS = {} AUTO_RESUME = {}{warehouse}{integrations} COMMENT = {}",
            self.min,
            self.max,
            self.suspend,
            truth(self.resume),
            literal(self.comment),
        )
    }
}

/// Names in their order: a list that means a set.
pub(super) fn sorted(names: &[Ident]) -> Vec<Ident> {
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    names
}

/// The statement that lets queries wake a service up, or no more.
pub(super) fn auto_resume(service: &str, resume: bool) -> String {
    format!("ALTER SERVICE {service} SET AUTO_RESUME = {}", truth(resume))
}

fn truth(yes: bool) -> &'static str {
    if yes { "TRUE" } else { "FALSE" }
}

/// Where functions are.
pub(super) fn within(place: &Place) -> In<'_> {
    In { database: &place.database, schema: &place.schema }
}

/// Letters, digits and underscores of an id.
fn readable(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    id.chars().map(plain).take(READABLE).collect()
}

/// Who may call is Snowflake's to say: by grants.
fn may_call(service: &ServiceSpec, problems: &mut Problems) {
    if matches!(service.authorization, Some(Authorization::ApiKeys { .. } | Authorization::Oauth2(_))) {
        problems.wrong(
            "authorization",
            "on Snowpark, grants say who may call a service (grantUsageTo); keys and tokens can't be asked for behind a SQL function",
        );
    }
    if service.auditing.as_ref().is_some_and(|auditing| auditing.container_secret().is_some()) {
        problems.wrong(
            "auditing",
            "the query log's key would be seen in the service's specification; keep it in a secret of Snowflake (snowflakeSecrets), let the infrastructure's query log name its variable in keyVariable, and leave the deployment's own out, or log without a key",
        );
    }
}

/// The endpoint that is served: the chosen one, or the only one. Every version must have it.
fn endpoint(service: &ServiceSpec, problems: &mut Problems) -> Option<EndpointSpec> {
    let first = service.versions.first()?;
    let chosen = match (&service.endpoint, first.endpoints.as_slice()) {
        (Some(id), all) => all.iter().find(|one| one.id == *id),
        (None, [only]) => Some(only),
        (None, _) => {
            let message = "Snowpark serves one endpoint of a service. Choose which in the deployment's settings.";
            problems.add(codes::ENDPOINT_NOT_CHOSEN, message);
            return None;
        }
    };
    for version in &service.versions {
        let id = chosen.map(|one| &one.id).or(service.endpoint.as_ref())?;
        let there = version.endpoints.iter().find(|one| one.id == *id);
        match (there, chosen) {
            (None, _) => {
                let message = format!(
                    "Version {} has no endpoint {id}. Choose another one, or another version.",
                    version.version
                );
                problems.add(codes::ENDPOINT_MISSING, message);
            }
            (Some(there), Some(chosen)) if there.kind != chosen.kind => {
                let message = format_args!("endpoint {id} of version {} is of another type", version.version);
                problems.wrong("endpoint", message);
            }
            _ => {}
        }
    }
    chosen.cloned()
}

/// What kind it is: the front must know.
fn kind(endpoint: &EndpointSpec, problems: &mut Problems) -> Option<EndpointType> {
    let kind = endpoint.kind.as_deref().unwrap_or_default();
    let read = serde_json::from_value(kind.into());
    read.map_err(|_| {
        problems.wrong("endpoint", format_args!("{} is of no type that can be served: {kind:?}", endpoint.id))
    })
    .ok()
}

fn function(service_id: &str, said: &DeploymentSettings, problems: &mut Problems) -> Option<Function> {
    let name = if said.function_name.trim().is_empty() {
        let id = readable(service_id);
        let id = if id.starts_with(|c: char| c.is_ascii_digit()) { format!("_{id}") } else { id };
        problems.checked("functionName", Ident::exact(&id))
    } else {
        problems.checked("functionName", Ident::parse(&said.function_name))
    };
    let mut arguments = Vec::new();
    for (n, one) in said.arguments.iter().enumerate() {
        let at = format!("arguments[{n}]");
        // A feature's name, as it is.
        let name = problems.checked(&format!("{at}.name"), Ident::exact(&one.name));
        let kind = DataType::parse(one.kind.as_deref().unwrap_or("VARCHAR"));
        let kind = kind.map_err(|error| problems.wrong(&format!("{at}.type"), error)).ok();
        if let (Some(name), Some(kind)) = (name, kind) {
            if arguments.iter().any(|other: &Argument| other.name == name) {
                problems.wrong(&format!("{at}.name"), "it is named before");
            }
            arguments.push(Argument { name, kind });
        }
    }
    if said.arguments.is_empty()
        && let (Ok(name), Ok(kind)) = (Ident::exact(WHOLE), DataType::parse("OBJECT"))
    {
        arguments.push(Argument { name, kind });
    }
    let returns = DataType::parse(said.returns.as_deref().unwrap_or("VARIANT"));
    let returns = returns.map_err(|error| problems.wrong("returns", error)).ok();
    Some(Function { name: name?, arguments, returns: returns?, batch: said.max_batch_rows })
}

/// The names of the arguments that come by place; none where one object says all.
pub(super) fn argument_names(function: &Function) -> Vec<String> {
    match function.arguments.as_slice() {
        [only] if only.name.as_str() == WHOLE && only.kind.base() == "OBJECT" => Vec::new(),
        all => all.iter().map(|one| one.name.as_str().to_owned()).collect(),
    }
}

/// The tag says what is in the image, so one that is there need not be pushed again.
fn image(
    place: &Place,
    spec: &DeploySpec,
    service: &ServiceSpec,
    endpoint: &EndpointSpec,
    function: &Function,
) -> Image {
    let versions: Vec<_> =
        service.versions.iter().map(|one| json!([one.version, one.sha256, one.probability])).collect();
    let tag = mark::hash_of(&json!({
        "base": place.settings.base_image,
        "service": service.service_id,
        "versions": versions,
        "endpoint": endpoint,
        "arguments": argument_names(function),
        "auditing": service.auditing,
    }));
    let id: String = readable(&spec.deployment).to_lowercase().replace('_', "-");
    let id = id.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let id = if id.is_empty() { String::new() } else { format!("{id}-") };
    let name = format!("slipway-{id}{}", &deployment_hash(spec)[..8]);
    let path = place.image_path(&name, &tag);
    Image { name, tag, path }
}

/// It, and its hash.
fn specification(place: &Place, said: &DeploymentSettings, image: &Image) -> (String, String) {
    let settings = &place.settings;
    let mut environment = settings.environment.clone();
    environment.extend(said.environment.clone());
    let mut container = json!({
        "name": CONTAINER,
        "image": image.path,
        "readinessProbe": {"port": PORT, "path": HEALTH},
    });
    let sized = |cpu: &str, memory: &str| {
        let each = [("cpu", cpu), ("memory", memory)].into_iter().filter(|(_, amount)| !amount.is_empty());
        each.map(|(name, amount)| (name.to_owned(), json!(amount))).collect::<Map<_, _>>()
    };
    let mut resources = Map::new();
    for (name, amounts) in [
        ("limits", sized(&settings.cpu_limit, &settings.memory_limit)),
        ("requests", sized(&settings.cpu_request, &settings.memory_request)),
    ] {
        if !amounts.is_empty() {
            resources.insert(name.to_owned(), Value::Object(amounts));
        }
    }
    if !resources.is_empty() {
        container["resources"] = Value::Object(resources);
    }
    if !place.secrets.is_empty() {
        let secret = |(variable, name): &(String, Vec<Ident>)| {
            let name = name.iter().map(Ident::rest).collect::<Vec<_>>().join(".");
            json!({"snowflakeSecret": {"objectName": name}, "secretKeyRef": "secret_string", "envVarName": variable})
        };
        container["secrets"] = place.secrets.iter().map(secret).collect();
    }
    let endpoint = json!({"name": ENDPOINT, "port": PORT, "public": settings.public_endpoint});
    let hash = mark::hash_of(&json!([container, environment, endpoint]));
    environment.insert(SPECIFICATION.to_owned(), hash.clone());
    container["env"] = json!(environment);
    (yaml::render(&json!({"spec": {"containers": [container], "endpoints": [endpoint]}})), hash)
}
