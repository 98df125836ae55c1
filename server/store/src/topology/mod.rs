//! The nodes of the database: roles, lag, and the choice of the node that answers.
//!
//! The service finds the roles itself. With several nodes it probes each periodically
//! ([`follow`]). The probe results together make a snapshot ([`snapshot`]), from which [`choose`]
//! picks a node.

pub(crate) mod choose;
mod consistency_token;
mod ejection;
pub(crate) mod follow;
mod history;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod probe;
pub(crate) mod route;
mod silence;
mod snapshot;
mod verify;

pub use self::{
    node::{NodeRole, NodeStatus},
    nodes::TopologyOptions,
};
