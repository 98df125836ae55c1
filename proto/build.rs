//! Compiles every contract under `bookstore/` with a compiler written in Rust: no protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::{
    bytes::Buf,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, string},
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

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(&contracts)?;
    // The compiler's own bytes: prost's FileDescriptorSet would drop the options
    // that it has no type for, and with them every validation rule.
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("bookstore.v1.binpb");
    let set = compiler.encode_file_descriptor_set();
    fs::write(descriptors, with_dependencies(&set, "bookstore/v1/transaction.proto", &contracts)?)?;

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
    // The options are read from the descriptors and need no types.
    let mut files = compiler.file_descriptor_set();
    files.file.retain(|file| !matches!(file.package(), "buf.validate" | "google.api"));
    generator.compile_fds_with_config(files, config)?;
    Ok(())
}

/// A set of files in which one depends on others too: it takes their messages in `Any`s, which
/// clients that build requests from reflection find only among a file's dependencies. Done on
/// the bytes, since whatever is decoded has lost its options.
fn with_dependencies(
    mut set: &[u8],
    file: &str,
    others: &[String],
) -> Result<Vec<u8>, Box<dyn Error>> {
    // FileDescriptorSet.file, FileDescriptorProto.name and FileDescriptorProto.dependency.
    const FILE: u32 = 1;
    const NAME: u32 = 1;
    const DEPENDENCY: u32 = 3;
    let (mut all, mut last) = (Vec::new(), Vec::new());
    while set.has_remaining() {
        let (tag, kind) = decode_key(&mut set)?;
        if (tag, kind) != (FILE, WireType::LengthDelimited) {
            return Err("a file descriptor set holds files alone".into());
        }
        let length = usize::try_from(decode_varint(&mut set)?)?;
        let mut descriptor = set.get(..length).ok_or("a set that is cut off")?.to_vec();
        set.advance(length);
        let mut name = Vec::new();
        string::encode(NAME, &file.to_owned(), &mut name);
        let found = descriptor.starts_with(&name);
        for other in others.iter().filter(|other| found && *other != file) {
            let mut dependency = Vec::new();
            string::encode(DEPENDENCY, other, &mut dependency);
            let known = descriptor.windows(dependency.len()).any(|part| part == dependency);
            if !known {
                descriptor.extend(dependency);
            }
        }
        // What it depends on stands before it.
        let into = if found { &mut last } else { &mut all };
        encode_key(FILE, WireType::LengthDelimited, into);
        encode_varint(descriptor.len() as u64, into);
        into.extend(descriptor);
    }
    all.extend(last);
    Ok(all)
}
