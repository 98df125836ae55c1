//! The contract `bookstore.v1` as Rust types, clients and servers, with its descriptors.
//!
//! Everything here is generated from the `.proto` files beside this crate;
//! their comments are the documentation.

pub mod abridged;
pub mod bounds;
pub mod codec;
pub mod ids;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the generator writes its helpers so"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

pub use generated::bookstore::v1;

/// The contract with all that it imports, as an encoded `google.protobuf.FileDescriptorSet`:
/// comments and options included. Reflection serves it.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/bookstore.v1.binpb"));

/// The same descriptors, decoded at first use.
pub static DESCRIPTOR_POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the build script wrote these bytes")]
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set that was just compiled")
});
