//! What the node should show in the end: of an update, as the spec says; of a restore, as it was; later on, as the receipt says.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    container::Container,
    notes::{self, Prior, State, States},
};
use crate::{
    spec::DeploySpec,
    target::{Receipt, ReceiptItem},
};

/// The wanted end.
pub(super) struct Goal<'a> {
    pub(super) bundle: &'a str,
    pub(super) container: Container,
    pub(super) local: Option<&'a Map<String, Value>>,
    /// Switches that are set whatever was before.
    pub(super) switches: BTreeMap<&'a str, bool>,
    /// Every scenario is off, whatever the switches say.
    all_off: bool,
    scenarios_run_as: Option<&'a str>,
    webapps_run_as: Option<&'a str>,
    /// Whether run-as users that no policy names are put back as recorded.
    recorded_run_as: bool,
    /// Whether a scenario that nobody recorded may be on or off.
    new_ones_are_free: bool,
    states: States,
    /// The note of the backends to restart.
    pub(super) restarts: &'static str,
}

/// A wanted run-as field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RunAs {
    /// As the bundle says.
    Any,
    /// This user.
    User(String),
    /// As recorded; None is a field that is absent.
    Recorded(Option<Value>),
    /// No user.
    Nobody,
}

impl<'a> Goal<'a> {
    /// What an update wants.
    pub(super) fn update(spec: &'a DeploySpec, states: States) -> Self {
        Self {
            bundle: &spec.package.bundle_id,
            container: Container::of(spec),
            local: spec.local_variables.as_ref(),
            switches: spec.scenarios.iter().map(|(id, on)| (id.as_str(), *on)).collect(),
            all_off: spec.disable_automatic_triggers,
            scenarios_run_as: spec.infrastructure.run_as_scenarios.as_deref(),
            webapps_run_as: spec.infrastructure.run_as_webapps.as_deref(),
            recorded_run_as: false,
            new_ones_are_free: false,
            states,
            restarts: notes::RESTARTS,
        }
    }

    /// What a restore wants: what was recorded, under the identity that policy demands. None when nothing was active before.
    pub(super) fn restore(spec: &'a DeploySpec, prior: &'a Prior, states: States) -> Option<Self> {
        Some(Self {
            bundle: prior.bundle.as_deref()?,
            container: Container::noted(spec, prior.remapping.as_ref(), prior.container.as_ref()),
            // Only if this run may have written them.
            local: prior.local.as_ref().filter(|_| spec.local_variables.is_some()),
            switches: BTreeMap::new(),
            all_off: false,
            recorded_run_as: true,
            restarts: notes::RESTORE_RESTARTS,
            ..Self::update(spec, states)
        })
    }

    /// What was there when an update of this spec had been verified. Scenarios that are new since may be on or off: they are the node's own.
    pub(super) fn receipt(spec: &'a DeploySpec, receipt: &Receipt) -> Self {
        let states = |items: &[ReceiptItem], active: fn(&ReceiptItem) -> bool| {
            let state =
                |item: &ReceiptItem| State { active: active(item), run_as: item.run_as.clone().map(Value::from) };
            items.iter().map(|item| (item.id.clone(), state(item))).collect()
        };
        let scenarios = states(&receipt.scenarios, |item| item.active);
        // A backend that stopped is a matter of health: nobody set it so.
        let webapps = states(&receipt.webapps, |_| false);
        Self { recorded_run_as: true, new_ones_are_free: true, ..Self::update(spec, States { scenarios, webapps }) }
    }

    /// On as the spec says, else as recorded; one that nobody recorded is new, and new ones are off.
    pub(super) fn scenario_on(&self, id: &str) -> bool {
        self.scenario_wanted(id).unwrap_or_default()
    }

    /// The same; None when it does not matter.
    pub(super) fn scenario_wanted(&self, id: &str) -> Option<bool> {
        if self.all_off {
            return Some(false);
        }
        let recorded = || self.states.scenarios.get(id).map(|state| state.active);
        self.switches.get(id).copied().or_else(recorded).or((!self.new_ones_are_free).then_some(false))
    }

    /// The web app ran before, and so must run again.
    pub(super) fn webapp_ran(&self, id: &str) -> bool {
        self.states.webapps.get(id).is_some_and(|state| state.active)
    }

    /// The run-as field with which the web app's backend was last started, as far as we know: None for a web app that was not there.
    pub(super) fn webapp_recorded(&self, id: &str) -> Option<&Option<Value>> {
        self.states.webapps.get(id).map(|state| &state.run_as)
    }

    pub(super) fn scenario_run_as(&self, id: &str) -> RunAs {
        self.run_as(self.scenarios_run_as, self.states.scenarios.get(id).map(|state| &state.run_as))
    }

    pub(super) fn webapp_run_as(&self, id: &str) -> RunAs {
        self.run_as(self.webapps_run_as, self.states.webapps.get(id).map(|state| &state.run_as))
    }

    fn run_as(&self, policy: Option<&str>, recorded: Option<&Option<Value>>) -> RunAs {
        match (policy, recorded) {
            (Some(user), _) => RunAs::User(user.to_owned()),
            // A receipt does not tell null from none.
            (None, Some(None)) if self.new_ones_are_free => RunAs::Nobody,
            (None, Some(recorded)) if self.recorded_run_as => RunAs::Recorded(recorded.clone()),
            (None, _) => RunAs::Any,
        }
    }
}

impl RunAs {
    pub(super) fn holds(&self, definition: &Map<String, Value>, field: &str) -> bool {
        match self {
            Self::Any => true,
            Self::User(user) => definition.get(field).and_then(Value::as_str) == Some(user),
            Self::Recorded(value) => definition.get(field) == value.as_ref(),
            Self::Nobody => definition.get(field).is_none_or(|value| !value.is_string()),
        }
    }

    pub(super) fn write(&self, definition: &mut Map<String, Value>, field: &str) {
        match self {
            Self::Any => {}
            Self::User(user) => drop(definition.insert(field.to_owned(), user.clone().into())),
            Self::Recorded(Some(value)) => drop(definition.insert(field.to_owned(), value.clone())),
            Self::Recorded(None) | Self::Nobody => drop(definition.remove(field)),
        }
    }

    /// For a receipt.
    pub(super) fn told(&self) -> Value {
        match self {
            Self::Any | Self::Nobody => Value::Null,
            Self::User(user) => user.clone().into(),
            Self::Recorded(value) => value.clone().unwrap_or_default(),
        }
    }
}
