//! Compiles every contract under `bookstore/` with a compiler written in Rust: no protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;
use protox::{
    Compiler,
    file::{ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver},
};

fn main() -> Result<(), Box<dyn Error>> {
    // The folder is watched too, so that a new file is seen without touching this one.
    println!("cargo:rerun-if-changed=bookstore/v1");
    println!("cargo:rerun-if-changed=buf");
    println!("cargo:rerun-if-changed=google");
    let mut contracts = Vec::new();
    for entry in fs::read_dir("bookstore/v1")? {
        let name = entry?.file_name().into_string().map_err(|_| "a file name that is not text")?;
        if name.ends_with(".proto") {
            contracts.push(format!("bookstore/v1/{name}"));
        }
    }
    contracts.sort();

    let mut files = ChainFileResolver::new();
    files.add(IncludeFileResolver::new(".".into()));
    files.add(error_details()?);
    files.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(files);
    compiler.include_source_info(true).include_imports(true).open_files(&contracts)?;
    // The compiler's own bytes: prost's FileDescriptorSet would drop the options
    // that it has no type for, and with them every validation rule.
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("bookstore.v1.binpb");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    config.include_file("contract.rs");
    // Requests hold books by the thousand and never their categories.
    config.boxed("bookstore.v1.Book.category");
    let codec = "crate::codec::BoundedCodec";
    let mut generator = tonic_prost_build::configure().codec_path(codec);
    for message in compiler.descriptor_pool().all_messages() {
        if message.package_name() == "bookstore.v1" {
            let name = message.full_name();
            generator = generator
                .type_attribute(name, "#[derive(::prost_reflect::ReflectMessage)]")
                .type_attribute(
                    name,
                    "#[prost_reflect(descriptor_pool = \"crate::DESCRIPTOR_POOL\")]",
                )
                .type_attribute(name, format!("#[prost_reflect(message_name = \"{name}\")]"));
        }
    }
    // The options are read from the descriptors and need no types, and tonic-types has those
    // of the error details.
    let mut files = compiler.file_descriptor_set();
    files
        .file
        .retain(|file| !matches!(file.package(), "buf.validate" | "google.api" | "google.rpc"));
    generator.compile_fds_with_config(files, config)?;
    Ok(())
}

/// The files of `google.rpc`, from the crate that also has their types. It names them without
/// their folder; the contract imports them by the public names.
fn error_details() -> Result<DescriptorSetFileResolver, Box<dyn Error>> {
    let mut set = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut set.file {
        if file.package() == "google.rpc" {
            file.name = Some(format!("google/rpc/{}", file.name()));
        }
    }
    Ok(DescriptorSetFileResolver::new(set))
}
