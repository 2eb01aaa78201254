//! Static API nodes, driven over real HTTP against the practice API node, whose folder of packages is really shared, copied to, or served by the agent.

mod agent;
mod delivery;
mod lanes;
mod looks;
mod switching;
mod walk;
pub(crate) mod world;
