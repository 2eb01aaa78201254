//! Kubernetes: every step against a strict stand-in, under every fault; and, where its programs are, against a real control plane (`scripts/control-plane` makes
//! them; `CONTROL_PLANE` names their folder).

mod fields;
mod hand;
mod judge;
mod plane;
mod real;
pub(crate) mod standin;
mod walk;
pub(crate) mod world;
