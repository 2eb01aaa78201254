//! Static API nodes, driven over real HTTP against the practice API node, whose folder of packages is really shared, copied to, or served by the agent.

mod agent;
mod delivery;
mod lanes;
mod looks;
mod queries;
mod switching;
mod twice;
mod verdicts;
mod walk;
pub(crate) mod world;
