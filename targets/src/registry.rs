//! The list of platforms. A new platform is one module and one line here.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use engine::{failure::StepError, secrets::Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    api_static::StaticNodes,
    automation::AutomationNode,
    azure_ml::AzureMl,
    connections::{self, Connection},
    governance::{self, Question, Verdict},
    http::{BlockList, Http, HttpSettings, NodeUrl, NodeUrlError, SetupError},
    k8s::K8s,
    looks::Looks,
    sagemaker::SageMaker,
    snowpark::Snowpark,
    spec::NamedNode,
    target::{Half, Target},
    tools::{HostSettings, Tools},
    vertex_ai::VertexAi,
};

/// Makes the list: one line a platform. The first is the default.
macro_rules! platforms {
    ($first:ident ($first_half:ident) => $first_target:ty, $($name:ident ($half:ident) => $target:ty),* $(,)?) => {
        /// A kind of platform.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        #[expect(missing_docs, reason = "each is described where its target is")]
        pub enum TargetType {
            #[default]
            $first,
            $($name),*
        }

        impl TargetType {
            /// What can be deployed to it.
            pub fn half(self) -> Half {
                match self {
                    Self::$first => Half::$first_half,
                    $(Self::$name => Half::$half),*
                }
            }

            /// The nodes that settings of such an infrastructure name, each a lane of an update ([`Target::nodes`]).
            pub fn nodes(self, settings: &Map<String, Value>) -> Vec<NamedNode> {
                match self {
                    Self::$first => <$first_target>::nodes(settings),
                    $(Self::$name => <$target>::nodes(settings)),*
                }
            }

            /// How many of them must still be able to succeed for an update to go on without one that failed ([`Target::quorum`]).
            pub fn quorum(self, settings: &Map<String, Value>) -> Option<u32> {
                match self {
                    Self::$first => <$first_target>::quorum(settings),
                    $(Self::$name => <$target>::quorum(settings)),*
                }
            }
        }

        /// Every platform, and how it is made.
        pub fn all() -> &'static [(TargetType, Constructor)] {
            &[
                (TargetType::$first, |tools| Arc::new(<$first_target>::new(tools))),
                $((TargetType::$name, |tools| Arc::new(<$target>::new(tools)))),*
            ]
        }
    };
}

type Constructor = fn(&Tools) -> Arc<dyn Target>;

platforms! {
    AutomationNode (Project) => AutomationNode,
    Static (Api) => StaticNodes,
    K8s (Api) => K8s,
    Sagemaker (Api) => SageMaker,
    AzureMl (Api) => AzureMl,
    VertexAi (Api) => VertexAi,
    Snowpark (Api) => Snowpark,
}

impl TargetType {
    /// Its stable name: the variant's, in capitals with underscores.
    pub fn as_str(self) -> &'static str {
        static NAMES: LazyLock<Vec<(TargetType, String)>> = LazyLock::new(|| {
            let named = |kind: &TargetType| match serde_json::to_value(kind) {
                Ok(Value::String(name)) => (*kind, name),
                // A unit variant is a text: serde's promise, held by a test.
                _ => (*kind, String::new()),
            };
            all().iter().map(|(kind, _)| named(kind)).collect()
        });
        NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No platform has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no target type is called \"{0}\"")]
pub struct TargetTypeUnknown(pub String);

impl FromStr for TargetType {
    type Err = TargetTypeUnknown;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        all()
            .iter()
            .map(|(kind, _)| *kind)
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| TargetTypeUnknown(text.to_owned()))
    }
}

/// Every platform with one HTTP client. Made once per process; cheap to clone.
#[derive(Clone)]
pub struct Targets {
    tools: Tools,
    looks: Arc<Looks>,
    connections: Arc<Vec<Arc<dyn Connection>>>,
    made: Arc<Vec<(TargetType, Arc<dyn Target>)>>,
}

impl Targets {
    /// Makes them all, for a process that deploys nothing itself.
    ///
    /// # Errors
    /// [`SetupError`] when the HTTP client can't be made.
    pub fn new(settings: HttpSettings) -> Result<Self, SetupError> {
        Self::on_host(settings, HostSettings::default())
    }

    /// Makes them all, with what the operator of this process gave them.
    ///
    /// # Errors
    /// [`SetupError`] when the HTTP client can't be made.
    pub fn on_host(settings: HttpSettings, host: HostSettings) -> Result<Self, SetupError> {
        let tools = Tools { http: Http::new(settings)?, host: Arc::new(host) };
        let made = all().iter().map(|(kind, make)| (*kind, make(&tools))).collect();
        let connections = connections::all().iter().map(|make| make(&tools)).collect();
        Ok(Self { tools, looks: Arc::default(), connections: Arc::new(connections), made: Arc::new(made) })
    }

    /// The platform of this kind; None if this build does not have it.
    pub fn find(&self, kind: TargetType) -> Option<Arc<dyn Target>> {
        self.made.iter().find(|(k, _)| *k == kind).map(|(_, target)| Arc::clone(target))
    }

    /// Every platform of this build, in the order of [`all`].
    pub fn made(&self) -> &[(TargetType, Arc<dyn Target>)] {
        &self.made
    }

    /// Every type of connection.
    pub fn connections(&self) -> &[Arc<dyn Connection>] {
        &self.connections
    }

    /// The type of connection of this name; None if this build does not have it.
    pub fn connection(&self, kind: &str) -> Option<Arc<dyn Connection>> {
        self.connections.iter().find(|one| one.describe().kind == kind).cloned()
    }

    /// Looks at deployed projects, kept for a moment.
    pub fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Where no node may be.
    pub fn blocked(&self) -> &BlockList {
        &self.tools.http.settings().blocked
    }

    /// What targets are given to work with.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Asks a governance source whether a bundle may be deployed.
    ///
    /// # Errors
    /// `GOVERNANCE_UNAVAILABLE`, worth another attempt; `GOVERNANCE_SOURCE_INVALID`, permanent.
    pub async fn ask_governance(
        &self,
        url: &str,
        key: Option<&Secret>,
        question: &Question,
    ) -> Result<Verdict, StepError> {
        governance::ask(&self.tools.http, url, key, question).await
    }

    /// Reads a node's URL as its record keeps it, and refuses what can't be one.
    ///
    /// # Errors
    /// [`NodeUrlError`], by what is wrong.
    pub fn node_url(&self, text: &str) -> Result<NodeUrl, NodeUrlError> {
        NodeUrl::parse(text, &self.tools.http.settings().blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for (kind, _) in all() {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("NODE".parse::<TargetType>().is_err());
    }

    #[test]
    fn each_says_what_it_is() {
        for (kind, target) in Targets::new(HttpSettings::default()).unwrap().made() {
            let described = target.describe();
            assert_eq!(described.half, kind.half(), "{kind}");
            for schema in [described.settings, described.deployment] {
                let schema: Value = serde_json::from_str(schema).unwrap();
                assert_eq!(schema["additionalProperties"], false, "{kind}");
            }
            assert_eq!(described.half == Half::Project, target.projects().is_some(), "{kind}");
            assert_eq!(described.half == Half::Api, target.services().is_some(), "{kind}");
        }
    }
}
