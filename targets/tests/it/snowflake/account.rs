//! One account of a strict stand-in of Snowflake: what it holds, and its REST API. It refuses what the models of Snowflake's own client refuse.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use super::{login, statements};
use crate::wire::{Answers, Asked, Told};

pub(crate) const DATABASE: &str = "ML";
pub(crate) const SCHEMA: &str = "SERVING";
pub(crate) const POOL: &str = "SMALL_POOL";
pub(crate) const REPOSITORY: &str = "IMAGES";
pub(crate) const ROLE: &str = "DEPLOY_ROLE";

/// Of a service's body, what may be said, and what must be.
const KNOWN: [&str; 12] = [
    "name",
    "compute_pool",
    "spec",
    "external_access_integrations",
    "query_warehouse",
    "comment",
    "auto_resume",
    "min_ready_instances",
    "min_instances",
    "max_instances",
    "auto_suspend_secs",
    "status",
];

#[derive(Default)]
pub(crate) struct Account(Mutex<State>);

/// A service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) comment: String,
    pub(crate) specification: String,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) suspend: u64,
    pub(crate) resume: bool,
    pub(crate) warehouse: Option<String>,
    pub(crate) integrations: Vec<String>,
    pub(crate) status: String,
    /// So many looks until its containers are ready.
    pub(crate) starting: u32,
    pub(crate) users: BTreeSet<String>,
    /// Why its containers fail.
    pub(crate) broken: Option<String>,
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) types: String,
    pub(crate) names: Vec<String>,
    pub(crate) returns: String,
    pub(crate) service: String,
    pub(crate) comment: String,
    pub(crate) users: BTreeSet<String>,
}

/// When a change is done, and when that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Now,
    /// Done at once, and answered with a handle first.
    AnswersLater,
    /// The same; and a statement is not done before its end is told.
    EffectsLater,
}

#[derive(Clone)]
pub(crate) struct State {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) functions: Vec<Function>,
    /// Privilege, kind of object, its name.
    pub(crate) privileges: BTreeSet<(String, String, String)>,
    pub(crate) default_role: String,
    /// Name, tag, digest.
    pub(crate) images: Vec<(String, String, String)>,
    pub(crate) pace: Pace,
    /// Containers are not ready for so many looks.
    pub(crate) starting: u32,
    /// Containers with this in their image's path fail with this sentence.
    pub(crate) failing: Option<(String, String)>,
    /// The containers of the next specification that replaces one fail with this sentence.
    pub(crate) next_fails: Option<String>,
    pub(crate) log: String,
    pub(crate) registry: String,
    /// Everything that changed something, in order.
    pub(crate) effects: Vec<String>,
    pub(crate) requests: BTreeMap<String, Told>,
    pub(crate) handles: BTreeMap<String, (Told, u32)>,
    /// Statements that are done when their end is told, by their handles.
    pub(crate) pending: BTreeMap<String, Value>,
    pub(crate) results: BTreeMap<String, Told>,
}

impl Default for State {
    fn default() -> Self {
        let all = [
            ("USAGE", "DATABASE", "ML"),
            ("USAGE", "SCHEMA", "ML.SERVING"),
            ("CREATE SERVICE", "SCHEMA", "ML.SERVING"),
            ("CREATE FUNCTION", "SCHEMA", "ML.SERVING"),
            ("USAGE", "COMPUTE_POOL", "SMALL_POOL"),
            ("MONITOR", "COMPUTE_POOL", "SMALL_POOL"),
            ("OWNERSHIP", "IMAGE REPOSITORY", "ML.SERVING.IMAGES"),
            ("USAGE", "WAREHOUSE", "WH"),
            ("USAGE", "INTEGRATION", "OUTSIDE"),
            ("BIND SERVICE ENDPOINT", "ACCOUNT", "ACME_TEST"),
        ];
        Self {
            services: BTreeMap::new(),
            functions: Vec::new(),
            privileges: all.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).into(),
            default_role: ROLE.to_owned(),
            images: Vec::new(),
            pace: Pace::Now,
            starting: 1,
            failing: None,
            next_fails: None,
            log: String::new(),
            registry: "acme-test.registry.snowflakecomputing.com".to_owned(),
            effects: Vec::new(),
            requests: BTreeMap::new(),
            handles: BTreeMap::new(),
            pending: BTreeMap::new(),
            results: BTreeMap::new(),
        }
    }
}

impl Account {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What there is, for comparing; without what only time makes different.
    pub(crate) fn snapshot(&self) -> Value {
        let state = self.state();
        let service = |(name, one): (&String, &Service)| {
            let told = json!({
                "comment": one.comment, "specification": one.specification, "instances": [one.min, one.max],
                "suspend": [json!(one.suspend), json!(one.resume)], "warehouse": one.warehouse, "integrations": one.integrations,
                "status": one.status, "users": one.users,
            });
            (name.clone(), told)
        };
        let services: serde_json::Map<_, _> = state.services.iter().map(service).collect();
        let mut functions: Vec<_> = state
            .functions
            .iter()
            .map(|one| json!([one.name, one.types, one.names, one.returns, one.service, one.comment, one.users]))
            .collect();
        functions.sort_by_key(Value::to_string);
        json!({"services": services, "functions": functions})
    }

    pub(crate) fn effects(&self) -> Vec<String> {
        self.state().effects.clone()
    }

    /// What hears of images in its repository.
    pub(crate) fn hears(self: &Arc<Self>) -> impl Fn(&str, &str, &str) + Send + Sync + 'static {
        let account = Arc::clone(self);
        move |repository, tag, digest| {
            let name = repository.rsplit('/').next().unwrap().to_owned();
            assert_eq!(repository, format!("ml/serving/images/{name}"));
            let mut state = account.state();
            state.images.push((name, tag.to_owned(), digest.to_owned()));
            state.effects.push(format!("push {tag}"));
        }
    }
}

pub(crate) fn refusal(status: u16, code: &str, message: impl Into<String>) -> Told {
    let message = message.into();
    Told::new(status, json!({"code": code, "error_code": code, "message": message, "request_id": "0"}))
}

/// A name in a URL or a REST body, as it is kept.
pub(crate) fn kept(name: &str) -> Result<String, Told> {
    let bad = || refusal(400, "391917", format!("invalid identifier {name}"));
    if let Some(inside) = name.strip_prefix('"') {
        let inside = inside.strip_suffix('"').ok_or_else(bad)?.replace("\"\"", "\u{1}");
        return if inside.contains('"') || inside.is_empty() { Err(bad()) } else { Ok(inside.replace('\u{1}', "\"")) };
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    let fine = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain);
    if fine { Ok(name.to_uppercase()) } else { Err(bad()) }
}

impl Answers for Account {
    fn refused(&self, _: u16) -> Value {
        json!({"code": "390000", "message": "a fault\u{1b}[31m of the stand-in"})
    }

    fn answer(&self, asked: &Asked) -> Told {
        if let Err(why) = login::check(asked) {
            return refusal(401, "390144", why);
        }
        let json = asked.header("accept") == Some("application/json") && asked.header("user-agent").is_some();
        let typed = asked.body.is_empty() || asked.header("content-type") == Some("application/json");
        if !json || !typed {
            return refusal(400, "391902", "Accept, User-Agent or Content-Type is missing or unsupported");
        }
        let mut state = self.state();
        let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
        let told = match (asked.method.as_str(), path.as_slice()) {
            (_, ["api", "v2", "statements", ..]) => statements::answer(&mut state, asked),
            ("GET", ["api", "v2", "results", id]) => state.results.get(*id).cloned().ok_or_else(|| missing("result")),
            ("GET", ["api", "v2", "compute-pools", name]) => pool(name),
            (_, ["api", "v2", "databases", database, "schemas", schema, rest @ ..]) => {
                inside(&mut state, asked, [database, schema], rest)
            }
            _ => Err(missing("page")),
        };
        told.unwrap_or_else(|refused| refused)
    }
}

fn missing(what: &str) -> Told {
    refusal(404, "390404", format!("{what} does not exist or not authorized."))
}

fn pool(name: &str) -> Result<Told, Told> {
    if kept(name)? != POOL {
        return Err(missing("compute pool"));
    }
    let pool = json!({
        "name": POOL, "min_nodes": 1, "max_nodes": 2, "instance_family": "CPU_X64_XS", "state": "ACTIVE",
        "auto_resume": true,
    });
    Ok(Told::new(200, pool))
}

fn inside(state: &mut State, asked: &Asked, place: [&str; 2], rest: &[&str]) -> Result<Told, Told> {
    if kept(place[0])? != DATABASE || kept(place[1])? != SCHEMA {
        return Err(missing("schema"));
    }
    let known: &[&str] = match (asked.method.as_str(), rest) {
        ("POST", ["services"]) => &["createMode"],
        ("POST" | "DELETE", ["services", _]) => &["ifExists"],
        ("GET", ["services", _, "logs"]) => &["instanceId", "containerName", "numLines"],
        _ => &[],
    };
    if let Some((name, _)) = asked.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(refusal(400, "391911", format!("unknown parameter {name}")));
    }
    match (asked.method.as_str(), rest) {
        ("GET", ["image-repositories", name, more @ ..]) => {
            if kept(name)? != REPOSITORY {
                return Err(missing("image repository"));
            }
            let path = format!("{DATABASE}/{SCHEMA}/{REPOSITORY}").to_lowercase();
            match more {
                [] => Ok(Told::new(
                    200,
                    json!({"name": REPOSITORY, "database_name": DATABASE, "schema_name": SCHEMA, "repository_url": format!("{}/{path}", state.registry)}),
                )),
                ["images"] => {
                    let image = |(name, tag, digest): &(String, String, String)| json!({"image_name": name, "tags": tag, "digest": digest, "image_path": format!("{path}/{name}:{tag}")});
                    Ok(Told::new(200, state.images.iter().map(image).collect()))
                }
                _ => Err(missing("page")),
            }
        }
        ("POST", ["services"]) => create(state, asked),
        (method, ["services", name]) => match (method, name.rsplit_once(':')) {
            ("GET", None) => {
                let name = kept(name)?;
                look(state, &name);
                let service = state.services.get(&name).ok_or_else(|| missing("service"))?;
                Ok(Told::new(200, told(&name, service)))
            }
            ("DELETE", None) => {
                let name = kept(name)?;
                state.services.remove(&name).ok_or_else(|| missing("service"))?;
                state.effects.push(format!("delete service {name}"));
                Ok(later(state, "deleted"))
            }
            ("POST", Some((name, action))) => {
                let name = kept(name)?;
                let service = state.services.get_mut(&name).ok_or_else(|| missing("service"))?;
                match action {
                    "suspend" if service.status != "SUSPENDED" => service.status = "SUSPENDED".to_owned(),
                    "resume" if service.status == "SUSPENDED" => {
                        service.status = "PENDING".to_owned();
                        // New containers are tried anew.
                        service.broken = None;
                        service.starting = state.starting;
                    }
                    "suspend" | "resume" => return Err(refusal(409, "395001", "is in this state already")),
                    _ => return Err(missing("page")),
                }
                state.effects.push(format!("{action} service {name}"));
                Ok(later(state, action))
            }
            _ => Err(refusal(405, "390405", "method not allowed")),
        },
        ("GET", ["services", name, part @ ..]) => {
            let name = kept(name)?;
            look(state, &name);
            let service = state.services.get(&name).ok_or_else(|| missing("service"))?;
            match part {
                ["containers"] => Ok(Told::new(200, containers(state, service))),
                ["endpoints"] => {
                    let public = service.specification.contains("\"public\": true");
                    let url = public.then_some("abc-acme-test.snowflakecomputing.app");
                    Ok(Told::new(
                        200,
                        json!([{"name": "api", "port": 8080, "protocol": "HTTP", "is_public": public, "ingress_url": url}]),
                    ))
                }
                ["logs"]
                    if asked.parameter("containerName") == Some("node") && asked.parameter("instanceId").is_some() =>
                {
                    Ok(Told::new(200, json!({"system$get_service_logs": state.log})))
                }
                ["roles", "ALL_ENDPOINTS_USAGE", "grants-of"] => {
                    let grant = |role: &String| json!({"role": "ALL_ENDPOINTS_USAGE", "granted_to": "ROLE", "grantee_name": role});
                    Ok(Told::new(200, service.users.iter().map(grant).collect()))
                }
                _ => Err(missing("page")),
            }
        }
        _ => Err(missing("page")),
    }
}

/// An answer now, or a place where it will be.
fn later(state: &mut State, what: &str) -> Told {
    let done = Told::new(200, json!({"status": format!("{what} successfully")}));
    if state.pace == Pace::Now {
        return done;
    }
    let id = format!("r{}", state.results.len());
    state.results.insert(id.clone(), done);
    let body = json!({"code": "392604", "message": "Request execution in progress.", "resultHandler": id});
    let mut told = Told::new(202, body);
    told.headers.push(("Location".to_owned(), format!("/api/v2/results/{id}")));
    told
}

fn create(state: &mut State, asked: &Asked) -> Result<Told, Told> {
    let bad = |what: String| refusal(400, "391912", what);
    if asked.parameter("createMode") != Some("errorIfExists") {
        return Err(bad("createMode".to_owned()));
    }
    let body = asked.json().ok_or_else(|| bad("no JSON".to_owned()))?;
    let object = body.as_object().ok_or_else(|| bad("no object".to_owned()))?;
    if let Some(key) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(bad(format!("unknown property {key}")));
    }
    let name = kept(body["name"].as_str().ok_or_else(|| bad("name".to_owned()))?)?;
    if kept(body["compute_pool"].as_str().ok_or_else(|| bad("compute_pool".to_owned()))?)? != POOL {
        return Err(missing("compute pool"));
    }
    let spec = body["spec"].as_object().ok_or_else(|| bad("spec".to_owned()))?;
    if spec.get("spec_type") != Some(&json!("from_inline")) || spec.len() != 2 {
        return Err(bad("spec_type".to_owned()));
    }
    let specification = spec["spec_text"].as_str().ok_or_else(|| bad("spec_text".to_owned()))?.to_owned();
    image_of(&specification).ok_or_else(|| bad("spec_text has no image".to_owned()))?;
    if !state.privileges.contains(&("CREATE SERVICE".to_owned(), "SCHEMA".to_owned(), "ML.SERVING".to_owned())) {
        return Err(refusal(403, "003001", "Insufficient privileges to operate on schema"));
    }
    if state.services.contains_key(&name) {
        return Err(refusal(409, "002002", format!("Object '{name}' already exists.")));
    }
    let whole = |key: &str| body[key].as_u64().ok_or_else(|| bad(key.to_owned()));
    let (min, max) = (whole("min_instances")?, whole("max_instances")?);
    if min == 0 || max < min {
        return Err(bad("min_instances".to_owned()));
    }
    let service = Service {
        comment: body["comment"].as_str().unwrap_or_default().to_owned(),
        specification,
        min,
        max,
        suspend: whole("auto_suspend_secs")?,
        resume: body["auto_resume"] != json!(false),
        warehouse: body["query_warehouse"].as_str().map(kept).transpose()?,
        integrations: body["external_access_integrations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| kept(name.as_str().unwrap_or_default()))
            .collect::<Result<_, _>>()?,
        status: "PENDING".to_owned(),
        starting: state.starting,
        users: BTreeSet::new(),
        broken: None,
    };
    state.effects.push(format!("create service {name}"));
    state.services.insert(name, service);
    Ok(later(state, "created"))
}

/// Time passes by looks.
fn look(state: &mut State, name: &str) {
    if let Some(service) = state.services.get_mut(name)
        && service.status != "SUSPENDED"
    {
        if service.starting == 0 {
            service.status = "RUNNING".to_owned();
        }
        service.starting = service.starting.saturating_sub(1);
    }
}

fn told(name: &str, service: &Service) -> Value {
    json!({
        "name": name, "status": service.status, "compute_pool": POOL, "database_name": DATABASE, "schema_name": SCHEMA,
        "spec": {"spec_type": "from_inline", "spec_text": service.specification}, "comment": service.comment,
        "query_warehouse": service.warehouse, "external_access_integrations": service.integrations,
        "min_instances": service.min, "max_instances": service.max, "auto_suspend_secs": service.suspend,
        "current_instances": service.min, "is_upgrading": false, "owner": ROLE, "is_job": false, "auto_resume": service.resume,
    })
}

fn containers(state: &State, service: &Service) -> Value {
    if service.status == "SUSPENDED" {
        return json!([]);
    }
    let image = image_of(&service.specification).unwrap_or_default();
    let failing = state.failing.as_ref().filter(|(part, _)| image.contains(part.as_str())).map(|(_, why)| why);
    let failing = service.broken.as_ref().or(failing);
    let there = state.images.iter().find(|(name, tag, _)| image.ends_with(&format!("/{name}:{tag}")));
    let (status, message) = match (failing, there, service.status.as_str()) {
        (Some(message), _, _) => ("FAILED", message.as_str()),
        (_, None, _) => ("FAILED", "Failed to pull image"),
        (_, _, "RUNNING") => ("READY", "Running"),
        _ => ("PENDING", "Readiness probe is failing at path: /health, port: 8080"),
    };
    let digest = there.map(|(_, _, digest)| digest.clone()).unwrap_or_default();
    let one = |n: u64| {
        json!({
            "service_name": "S", "instance_id": n.to_string(), "container_name": "node", "status": status, "message": message,
            "image_name": format!("{}{image}", state.registry), "image_digest": digest, "restart_count": 0,
        })
    };
    (0..service.min).map(one).collect()
}

/// The image that a specification names.
pub(crate) fn image_of(specification: &str) -> Option<String> {
    let line = specification.lines().find_map(|line| line.trim().strip_prefix("\"image\": "))?;
    serde_json::from_str(line).ok()
}
