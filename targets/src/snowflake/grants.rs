//! What a role may do, itself and through the roles that it has.

use std::collections::{BTreeSet, VecDeque};

use super::{
    client::Api,
    ident::Ident,
    statements::{Context, Statement},
};
use crate::http::CallError;

/// The grants of so many roles are read.
const MOST_ROLES: usize = 50;

/// A privilege on an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Privilege {
    /// Such as `USAGE`.
    pub(crate) name: &'static str,
    /// Such as `COMPUTE_POOL`.
    pub(crate) on: &'static str,
    /// The object's name, in its parts; empty for the account.
    pub(crate) object: Vec<Ident>,
}

impl Privilege {
    pub(crate) fn new(name: &'static str, on: &'static str, object: &[&Ident]) -> Self {
        Self { name, on, object: object.iter().map(|part| (*part).clone()).collect() }
    }

    /// The statement that gives it to a role.
    pub(crate) fn statement(&self, role: &Ident) -> String {
        let on = self.on.replace('_', " ");
        let object = self.object.iter().map(Ident::rest).collect::<Vec<_>>().join(".");
        let space = if object.is_empty() { "" } else { " " };
        format!("GRANT {} ON {on}{space}{object} TO ROLE {};", self.name, role.rest())
    }
}

/// What a role holds.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    held: BTreeSet<(String, String, Vec<Ident>)>,
    /// Not all of its roles could be read.
    pub(crate) partial: bool,
}

impl Grants {
    /// Whether it may, or owns the object.
    pub(crate) fn allow(&self, wanted: &Privilege) -> bool {
        let held = |name: &str| {
            let object = if wanted.on == "ACCOUNT" { Vec::new() } else { wanted.object.clone() };
            self.held.contains(&(name.to_owned(), wanted.on.to_owned(), object))
        };
        held(wanted.name) || held("OWNERSHIP")
    }
}

impl Api {
    /// Reads them, by reading alone.
    pub(crate) async fn grants_of(&self, role: &Ident, context: &Context) -> Result<Grants, CallError> {
        let (mut grants, mut seen) = (Grants::default(), BTreeSet::from([role.clone()]));
        let mut open = VecDeque::from([role.clone()]);
        while let Some(role) = open.pop_front() {
            let sql = format!("SHOW GRANTS TO ROLE {}", role.sql());
            let statement = Statement { sql, bindings: Vec::new(), context, doing: "reading what the role may do" };
            for row in self.read(&statement).await?.iter() {
                let on = row.text("granted_on").to_uppercase().replace(' ', "_");
                let object = if on == "ACCOUNT" { Ok(Vec::new()) } else { Ident::parse_path(row.text("name"), 1, 3) };
                let Ok(object) = object else { continue };
                if on == "ROLE" && row.text("privilege").eq_ignore_ascii_case("USAGE") {
                    if let [inner] = object.as_slice()
                        && seen.insert(inner.clone())
                    {
                        if seen.len() > MOST_ROLES {
                            grants.partial = true;
                        } else {
                            open.push_back(inner.clone());
                        }
                    }
                    continue;
                }
                grants.held.insert((row.text("privilege").to_uppercase(), on, object));
            }
        }
        Ok(grants)
    }
}
