//! The list of platforms. A new platform is one module and one line here.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    automation::AutomationNode,
    http::{Http, HttpSettings, NodeUrl, NodeUrlError, SetupError},
    looks::Looks,
    target::Target,
};

/// A kind of platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TargetType {
    /// Dataiku's Automation node.
    #[default]
    AutomationNode,
}

type Constructor = fn(Http) -> Arc<dyn Target>;

/// Every platform, and how it is made.
pub fn all() -> &'static [(TargetType, Constructor)] {
    &[(TargetType::AutomationNode, |http| Arc::new(AutomationNode::new(http)))]
}

impl TargetType {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AutomationNode => "AUTOMATION_NODE",
        }
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
    http: Http,
    looks: Arc<Looks>,
    made: Arc<Vec<(TargetType, Arc<dyn Target>)>>,
}

impl Targets {
    /// Makes them all.
    ///
    /// # Errors
    /// [`SetupError`] when the HTTP client can't be made.
    pub fn new(settings: HttpSettings) -> Result<Self, SetupError> {
        let http = Http::new(settings)?;
        let made = all().iter().map(|(kind, make)| (*kind, make(http.clone()))).collect();
        Ok(Self { http, looks: Arc::default(), made: Arc::new(made) })
    }

    /// The platform of this kind; None if this build does not have it.
    pub fn find(&self, kind: TargetType) -> Option<Arc<dyn Target>> {
        self.made.iter().find(|(k, _)| *k == kind).map(|(_, target)| Arc::clone(target))
    }

    /// The Automation node's.
    pub fn automation_node(&self) -> Arc<dyn Target> {
        self.find(TargetType::AutomationNode).unwrap_or_else(|| Arc::new(AutomationNode::new(self.http.clone())))
    }

    /// Looks at deployed projects, kept for a moment.
    pub fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Reads a node's URL as its record keeps it, and refuses what can't be one.
    ///
    /// # Errors
    /// [`NodeUrlError`], by what is wrong.
    pub fn node_url(&self, text: &str) -> Result<NodeUrl, NodeUrlError> {
        NodeUrl::parse(text, &self.http.settings().blocked)
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
}
