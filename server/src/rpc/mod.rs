//! What all services share: the layers, the checks of requests, and the form of answers.

pub mod answer_mask;
pub mod behavior;
pub mod calls;
pub mod check;
pub mod consistency;
pub mod context;
pub mod etag;
pub mod field_mask;
pub mod health;
pub mod layers;
pub mod list;
pub mod load;
pub mod metadata;
pub mod metadata_error;
pub mod method;
pub mod paths;
pub mod registry;
pub mod request;
pub mod rules;
pub mod search;
pub(crate) mod stamp;
pub mod standard;
pub mod status;
pub mod stored;
pub mod streams;
pub mod wire;
