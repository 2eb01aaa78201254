//! Platforms and connections: what there is to choose from, each with the JSON Schema that a form is drawn from.

use std::borrow::Cow;

use async_graphql::{
    Context, ContextSelectionSet, ID, InputObject, InputType, InputValueError, InputValueResult, Json, Name, Object,
    OutputType, Positioned, ServerResult, SimpleObject, Value as GraphQlValue,
    indexmap::IndexMap,
    parser::types::Field,
    registry::{MetaEnumValue, MetaType, MetaTypeId, Registry},
};
use deployer::{connections, infrastructures, schema::Document};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use targets::target;

use super::{
    enums::{Level, StageKind},
    infrastructure::InfrastructurePermission,
    node::all,
};
use crate::{
    error::Result,
    scalars::{DateTime, Long},
    session::Asked as _,
};

/// A kind of platform, by its name: the values are those of [`targets::all`], so that a new platform needs no line here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TargetType(pub(crate) targets::TargetType);

impl Default for TargetType {
    fn default() -> Self {
        Self(targets::TargetType::AutomationNode)
    }
}

impl From<TargetType> for targets::TargetType {
    fn from(kind: TargetType) -> Self {
        kind.0
    }
}

fn register(registry: &mut Registry) -> String {
    registry.create_input_type::<TargetType, _>(MetaTypeId::Enum, |_| {
        let value = |(kind, _): &(targets::TargetType, _)| {
            let name = kind.as_str().to_owned();
            let value = MetaEnumValue {
                name: name.clone(),
                description: Some(format!("`{name}`: its label and its schemas are in `infrastructureTypes`.")),
                deprecation: async_graphql::registry::Deprecation::NoDeprecated,
                visible: None,
                inaccessible: false,
                tags: Vec::new(),
                directive_invocations: Vec::new(),
            };
            (name, value)
        };
        MetaType::Enum {
            name: "TargetType".to_owned(),
            description: Some(
                "The kind of platform behind an infrastructure; `infrastructureTypes` describes each.".to_owned(),
            ),
            enum_values: targets::all().iter().map(value).collect::<IndexMap<_, _>>(),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: Some(std::any::type_name::<TargetType>()),
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        }
    })
}

impl InputType for TargetType {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        "TargetType".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        register(registry)
    }

    fn parse(value: Option<GraphQlValue>) -> InputValueResult<Self> {
        let value = value.unwrap_or_default();
        let name = match &value {
            GraphQlValue::Enum(name) => name.as_str(),
            GraphQlValue::String(name) => name.as_str(),
            _ => return Err(InputValueError::expected_type(value)),
        };
        name.parse().map(Self).map_err(|error: targets::registry::TargetTypeUnknown| InputValueError::custom(error))
    }

    fn to_value(&self) -> GraphQlValue {
        GraphQlValue::Enum(Name::new(self.0.as_str()))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
}

impl OutputType for TargetType {
    fn type_name() -> Cow<'static, str> {
        "TargetType".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        register(registry)
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<GraphQlValue> {
        Ok(InputType::to_value(self))
    }
}

/// A document that a schema describes. What is no JSON object is refused by the field's name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(try_from = "Value")]
pub(crate) struct Settings(#[serde(skip_serializing)] Map<String, Value>);

impl TryFrom<Value> for Settings {
    type Error = &'static str;

    fn try_from(value: Value) -> std::result::Result<Self, Self::Error> {
        match value {
            Value::Object(document) => Ok(Self(document)),
            _ => Err("This is a JSON object of settings by name."),
        }
    }
}

impl From<Settings> for Document {
    fn from(settings: Settings) -> Self {
        Self(settings.0)
    }
}

/// The document of an input, if one is given.
pub(crate) fn document(input: Option<Json<Settings>>) -> Option<Document> {
    input.map(|json| json.0.into())
}

/// A kind of platform that things are deployed to.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct InfrastructureType {
    /// Its name: the `kind` of an infrastructure.
    #[graphql(name = "type")]
    kind: TargetType,
    /// What people read.
    label: String,
    /// What can be deployed to it, and which list of stages its infrastructures belong to.
    half: StageKind,
    /// The JSON Schema (draft 2020-12) of `platform` in the settings of its infrastructures. `writeOnly` marks secrets; `x-place` marks what says where the
    /// secrets beside it are sent: whoever changes that enters them again; in an object that is marked `x-home`, all secrets of the infrastructure.
    settings_schema: Json<Value>,
    /// The JSON Schema of `platform` in the settings of its deployments.
    deployment_schema: Json<Value>,
    /// The type of connection that its infrastructures need; null if none.
    connection_type: Option<String>,
    /// It serves one endpoint of a service: a deployment chooses it.
    one_endpoint: bool,
}

impl InfrastructureType {
    pub(crate) fn of(kind: targets::TargetType, described: &target::Description) -> Result<Self> {
        Ok(Self {
            kind: TargetType(kind),
            label: described.label.to_owned(),
            half: deployer::stages::StageKind::of(kind).into(),
            settings_schema: schema(described.settings)?,
            deployment_schema: schema(described.deployment)?,
            connection_type: described.connection.map(str::to_owned),
            one_endpoint: described.one_endpoint,
        })
    }
}

/// A type of connection.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ConnectionType {
    /// Its name.
    #[graphql(name = "type")]
    kind: String,
    /// What people read.
    label: String,
    /// The JSON Schema (draft 2020-12) of its settings, with the marks of an infrastructure type's.
    settings_schema: Json<Value>,
}

impl ConnectionType {
    pub(crate) fn of(described: &targets::connections::ConnectionDescription) -> Result<Self> {
        let (kind, label) = (described.kind.to_owned(), described.label.to_owned());
        Ok(Self { kind, label, settings_schema: schema(described.settings)? })
    }
}

/// A schema of ours, as JSON.
pub(crate) fn schema(text: &'static str) -> Result<Json<Value>> {
    Ok(Json(serde_json::from_str(text).map_err(deployer::error::Error::from)?))
}

/// Whose credentials reach a platform.
pub(crate) struct PlatformConnection(connections::Connection);

impl From<connections::Connection> for PlatformConnection {
    fn from(one: connections::Connection) -> Self {
        Self(one)
    }
}

/// Whose credentials reach a platform, and where they may be sent. Infrastructures name one. VIEW sees that there is one, DEPLOY may choose it for an
/// infrastructure, ADMIN sees and changes its settings. Its secrets are for nobody.
#[Object]
impl PlatformConnection {
    /// Unique, for good.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    /// Its type.
    #[graphql(name = "type")]
    async fn kind(&self) -> &str {
        &self.0.kind
    }

    /// What you may do with it.
    async fn level(&self) -> Level {
        self.0.level.into()
    }

    /// Counts changes: editors name the one that they saw.
    async fn version(&self) -> Long {
        self.0.version.into()
    }

    /// Its settings, with ten asterisks for each secret; null unless you administer it.
    async fn settings(&self) -> Option<Json<Value>> {
        self.0.settings.clone().map(|settings| Json(Value::Object(settings)))
    }

    /// What groups may do with it; null unless you administer it.
    async fn permissions(&self) -> Option<Vec<InfrastructurePermission>> {
        self.0.permissions.clone().map(all)
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Who made it: a login.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// When it was last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Who last changed it: a login.
    async fn updated_by(&self) -> &str {
        &self.0.updated_by
    }
}

/// A connection to be made.
#[derive(InputObject)]
pub(crate) struct CreateConnectionInput {
    /// Unique, for good: 1 to 100 characters, none of / ? # %.
    id: ID,
    /// Its type, one of `connectionTypes`.
    #[graphql(name = "type")]
    kind: String,
    /// As its type's schema describes it. Secrets are encrypted, and never answered again.
    #[graphql(secret)]
    settings: Json<Settings>,
    /// What groups may do with it.
    #[graphql(default)]
    permissions: Vec<InfrastructurePermission>,
}

impl From<CreateConnectionInput> for connections::NewConnection {
    fn from(input: CreateConnectionInput) -> Self {
        Self {
            id: input.id.0,
            kind: input.kind,
            settings: input.settings.0.into(),
            permissions: all::<_, infrastructures::Permission>(input.permissions),
        }
    }
}

/// A change of a connection. What is not given is left as it is.
#[derive(InputObject)]
pub(crate) struct UpdateConnectionInput {
    /// Which.
    pub(crate) id: ID,
    /// The version that you saw.
    expected_version: Long,
    /// All settings, in place of those before. Ten asterisks keep a secret that is stored.
    #[graphql(secret)]
    settings: Option<Json<Settings>>,
    /// All groups with rights, in place of those before.
    permissions: Option<Vec<InfrastructurePermission>>,
}

impl From<UpdateConnectionInput> for connections::ConnectionPatch {
    fn from(input: UpdateConnectionInput) -> Self {
        Self {
            expected_version: input.expected_version.0,
            settings: document(input.settings),
            permissions: input.permissions.map(all),
        }
    }
}

/// The types of infrastructure of this build.
pub(crate) fn infrastructure_types(ctx: &Context<'_>) -> Result<Vec<InfrastructureType>> {
    let session = ctx.session()?;
    session
        .deployer
        .targets
        .made()
        .iter()
        .map(|(kind, target)| InfrastructureType::of(*kind, &target.describe()))
        .collect()
}

/// The types of connection of this build.
pub(crate) fn connection_types(ctx: &Context<'_>) -> Result<Vec<ConnectionType>> {
    connections::kinds(&ctx.session()?.deployer).iter().map(ConnectionType::of).collect()
}
