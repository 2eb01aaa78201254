//! The account, as a deployment sees it: everything that is read there.

use std::time::Duration;

use engine::failure::{Failure, StepError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    function::{Function, In},
    goal::{CONTAINER, Goal, sorted, within},
    mark::Mark,
    place::{Place, Problems},
    report,
};
use crate::{
    codes,
    http::{CallError, Http},
    snowflake::{
        client::{Api, Call},
        ident::Ident,
        statements::{Rows, Statement},
        vault::Vault,
    },
    spec::DeploySpec,
};

/// So many lines of a container's log are shown.
const LOG_LINES: &str = "30";
/// A function's list of arguments is longer at no time.
const LONGEST_LIST: usize = 64 * 1024;

/// An account, and what a deployment wants there.
pub(super) struct Site {
    pub(super) api: Api,
    pub(super) place: Place,
    pub(super) goal: Goal,
}

/// A service, as Snowflake tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) status: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) spec: Specification,
    pub(super) query_warehouse: Option<String>,
    pub(super) external_access_integrations: Option<Vec<String>>,
    pub(super) min_instances: Option<u32>,
    pub(super) max_instances: Option<u32>,
    pub(super) current_instances: Option<u32>,
    pub(super) auto_suspend_secs: Option<u32>,
    pub(super) auto_resume: Option<bool>,
    pub(super) is_upgrading: Option<bool>,
}

/// Its specification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Specification {
    pub(super) spec_text: String,
}

impl Specification {
    /// The image of its container, as it stands there. None where Snowflake writes it in a way that we do not read.
    pub(super) fn image(&self) -> Option<String> {
        let line = self.spec_text.lines().map(|line| line.trim_start_matches([' ', '-', '\t']));
        let image = line.filter_map(|line| line.strip_prefix("image:")).next()?;
        Some(image.trim().trim_matches(['"', '\'']).to_owned()).filter(|image| !image.is_empty())
    }
}

impl Service {
    pub(super) fn mark(&self) -> Option<Mark> {
        self.comment.as_deref().and_then(Mark::read)
    }

    /// Where its queries run, by the name that Snowflake tells.
    pub(super) fn warehouse(&self) -> Option<Ident> {
        self.query_warehouse.as_deref().and_then(|name| Ident::parse(name).ok())
    }

    /// Its external access integrations, in the order of their names.
    pub(super) fn integrations(&self) -> Vec<Ident> {
        let names = self.external_access_integrations.iter().flatten();
        sorted(&names.filter_map(|name| Ident::parse(name).ok()).collect::<Vec<_>>())
    }

    pub(super) fn is(&self, status: &str) -> bool {
        self.status.as_deref().is_some_and(|word| word.eq_ignore_ascii_case(status))
    }

    /// It rests by itself, and the next query wakes it up.
    pub(super) fn dozes(&self) -> bool {
        self.is_suspended()
            && self.auto_resume == Some(true)
            && self.auto_suspend_secs.is_some_and(|seconds| seconds > 0)
    }

    /// On its way to rest, or there.
    pub(super) fn is_suspended(&self) -> bool {
        self.is("SUSPENDED") || self.is("SUSPENDING")
    }

    /// On its way out.
    pub(super) fn is_going(&self) -> bool {
        self.is("DELETING") || self.is("DELETED")
    }
}

/// A container of a service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) instance_id: String,
    pub(super) container_name: String,
    pub(super) status: String,
    pub(super) message: String,
    pub(super) image_name: String,
    pub(super) image_digest: String,
    pub(super) restart_count: u32,
}

/// A function of the schema that is ours, or has the name that we want.
#[derive(Clone, Debug)]
pub(super) struct FoundFunction {
    pub(super) name: String,
    /// The types of its arguments, without numbers.
    pub(super) types: String,
    pub(super) mark: Option<Mark>,
}

#[derive(Deserialize)]
struct EndpointWire {
    #[serde(default)]
    ingress_url: Option<String>,
}

impl Site {
    /// Reads the spec, and takes out what signs in. Talks to nobody. All problems of the spec at once.
    pub(super) async fn open(http: &Http, spec: &DeploySpec, vault: Vault<'_>) -> Result<Self, StepError> {
        let mut problems = Problems::default();
        let place = Place::read(&spec.infrastructure.settings, spec.infrastructure.connection.as_ref(), &mut problems);
        let goal = place.as_ref().and_then(|place| Goal::read(place, spec, &mut problems));
        let (Some(place), Some(goal)) = (place, goal) else {
            return Err(report::failure(&problems.0).permanent());
        };
        let api = Api::open(http, &place.connection, vault, call_timeout(http, spec)).await?;
        Ok(Self { api, place, goal })
    }

    pub(super) fn within(&self) -> In<'_> {
        within(&self.place)
    }

    /// The path of the service, or of a part of it.
    async fn part(&self, part: Option<&str>, query: &[(&str, &str)], doing: &str) -> Result<Option<Value>, CallError> {
        let (database, schema, name) = (self.place.database.rest(), self.place.schema.rest(), self.goal.service.rest());
        let mut path = vec!["api", "v2", "databases", &database, "schemas", &schema, "services", &name];
        path.extend(part.into_iter().flat_map(|part| part.split('/')));
        self.api.rest_if_there(Call { query, ..Call::get(&path, doing) }).await
    }

    /// The service of our name.
    pub(super) async fn service(&self) -> Result<Option<Service>, CallError> {
        let doing = "reading the service";
        let found = self.part(None, &[], doing).await?;
        found.map(|value| read(value, doing)).transpose()
    }

    /// The same, if it is this deployment's; `PLATFORM_NAME_TAKEN` if it is somebody else's.
    pub(super) async fn own_service(&self) -> Result<Option<(Service, Mark)>, StepError> {
        match self.service().await? {
            None => Ok(None),
            Some(service) => match service.mark().filter(|mark| mark.deployment == self.goal.mark.deployment) {
                Some(mark) => Ok(Some((service, mark))),
                None => Err(self.taken("service", self.goal.service.as_str()).permanent()),
            },
        }
    }

    pub(super) fn taken(&self, what: &str, name: &str) -> Failure {
        let name = self.api.clean(name, 255);
        let message = format!(
            "There is a {what} {name} in {}.{} already that this deployment did not make. It was left alone. Rename it, or deploy elsewhere or under another name.",
            self.place.database, self.place.schema
        );
        Failure::new(codes::PLATFORM_NAME_TAKEN, message)
    }

    /// Its containers.
    pub(super) async fn containers(&self) -> Result<Vec<Container>, CallError> {
        let doing = "reading the service's containers";
        let found = self.part(Some("containers"), &[], doing).await?;
        let all: Vec<Container> = read(found.unwrap_or_else(|| Value::Array(Vec::new())), doing)?;
        Ok(all.into_iter().filter(|one| one.container_name.is_empty() || one.container_name == CONTAINER).collect())
    }

    /// Where it is reached from outside.
    pub(super) async fn urls(&self) -> Result<Vec<String>, CallError> {
        let doing = "reading the service's endpoints";
        let found = self.part(Some("endpoints"), &[], doing).await?;
        let all: Vec<EndpointWire> = read(found.unwrap_or_else(|| Value::Array(Vec::new())), doing)?;
        // Until it has one, Snowflake tells a sentence there.
        let is_host = |text: &String| {
            text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        };
        Ok(all
            .into_iter()
            .filter_map(|one| one.ingress_url)
            .filter(is_host)
            .map(|host| format!("https://{host}"))
            .collect())
    }

    /// The end of a container's log.
    pub(super) async fn log(&self, container: &Container) -> Result<String, CallError> {
        let instance: String = container.instance_id.chars().filter(char::is_ascii_digit).collect();
        let instance = if instance.is_empty() { "0" } else { &instance };
        let query = [("instanceId", instance), ("containerName", CONTAINER), ("numLines", LOG_LINES)];
        let found = self.part(Some("logs"), &query, "reading a container's log").await?;
        let text = found.as_ref().and_then(|value| value.get("system$get_service_logs")).and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }

    /// To whom the service's own role is granted.
    pub(super) async fn endpoint_users(&self) -> Result<Vec<Ident>, CallError> {
        let doing = "reading who may reach the endpoint";
        let found = self.part(Some("roles/ALL_ENDPOINTS_USAGE/grants-of"), &[], doing).await?;
        let all: Vec<Value> = read(found.unwrap_or_else(|| Value::Array(Vec::new())), doing)?;
        let to_role =
            all.iter().filter(|one| one["granted_to"].as_str().is_some_and(|to| to.eq_ignore_ascii_case("ROLE")));
        Ok(to_role.filter_map(|one| Ident::parse(one["grantee_name"].as_str()?).ok()).collect())
    }

    /// Runs a statement that changes nothing.
    pub(super) async fn rows(&self, sql: String, doing: &str) -> Result<Rows, CallError> {
        self.api.read(&Statement { sql, bindings: Vec::new(), context: &self.place.context(), doing }).await
    }

    /// The functions of the schema that are this deployment's, or in the way.
    pub(super) async fn functions(&self) -> Result<Vec<FoundFunction>, CallError> {
        let schema = crate::snowflake::ident::path(&[&self.place.database, &self.place.schema]);
        let rows =
            self.rows(format!("SHOW USER FUNCTIONS IN SCHEMA {schema}"), "reading the schema's functions").await?;
        let found = rows.iter().map(|row| FoundFunction {
            name: row.text("name").to_owned(),
            types: types(row.text("name"), row.text("arguments")),
            mark: Mark::read(row.text("description")).filter(|mark| mark.deployment == self.goal.mark.deployment),
        });
        Ok(found.filter(|one| one.mark.is_some() || one.name == self.goal.function.name.as_str()).collect())
    }

    /// The function of this name and these types, if it is there.
    pub(super) fn same<'a>(found: &'a [FoundFunction], wanted: &Function) -> Option<&'a FoundFunction> {
        found.iter().find(|one| one.name == wanted.name.as_str() && one.types == wanted.types())
    }

    /// Who may call the function.
    pub(super) async fn callers(&self, function: &Function) -> Result<Vec<Ident>, CallError> {
        let sql = format!("SHOW GRANTS ON FUNCTION {}", function.signature(self.within()));
        let rows = self.rows(sql, "reading who may call the function").await?;
        let to_role = rows.iter().filter(|row| {
            row.text("privilege").eq_ignore_ascii_case("USAGE") && row.text("granted_to").eq_ignore_ascii_case("ROLE")
        });
        Ok(to_role.filter_map(|row| Ident::parse(row.text("grantee_name")).ok()).collect())
    }
}

/// How long a call may take.
pub(super) fn call_timeout(http: &Http, spec: &DeploySpec) -> Duration {
    match spec.infrastructure.node.call_timeout_ms {
        0 => http.settings().call_timeout,
        limit => Duration::from_millis(limit),
    }
}

/// What was answered, in its shape.
pub(super) fn read<T: serde::de::DeserializeOwned>(value: Value, doing: &str) -> Result<T, CallError> {
    serde_json::from_value(value).map_err(|error| {
        let message = format!("Snowflake's answer does not have the shape that its API promises ({doing}).");
        CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, crate::http::Effect::Ended)
            .detail(error.to_string().chars().take(500).collect())
    })
}

/// `F(NUMBER(38,0), VARCHAR) RETURN VARIANT` are a NUMBER and a VARCHAR.
fn types(name: &str, arguments: &str) -> String {
    let rest = arguments.get(..LONGEST_LIST).unwrap_or(arguments);
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let rest = rest.strip_prefix(quoted.as_str()).or_else(|| rest.strip_prefix(name)).unwrap_or_default();
    let list = rest.rsplit_once(" RETURN").map_or(rest, |(list, _)| list).trim();
    let list = list.strip_prefix('(').and_then(|list| list.strip_suffix(')')).unwrap_or_default();
    let (mut plain, mut depth) = (String::new(), 0_u32);
    for c in list.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let each =
        plain.split(',').map(|one| one.trim().trim_start_matches("DEFAULT ").trim()).filter(|one| !one.is_empty());
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::types;

    #[test]
    fn arguments_by_their_types() {
        for (name, arguments, wanted) in [
            ("F", "F(NUMBER, VARCHAR) RETURN VARIANT", "NUMBER, VARCHAR"),
            ("F", "F(NUMBER(38,0), VARCHAR(10)) RETURN NUMBER(38,0)", "NUMBER, VARCHAR"),
            ("F", "F() RETURN VARIANT", ""),
            ("f (x)", "\"f (x)\"(FLOAT) RETURN FLOAT", "FLOAT"),
            ("f (x)", "f (x)(FLOAT) RETURN FLOAT", "FLOAT"),
            ("F", "", ""),
        ] {
            assert_eq!(types(name, arguments), wanted, "{arguments}");
        }
    }
}
