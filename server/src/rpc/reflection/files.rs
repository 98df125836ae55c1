//! The files that reflection serves, by name and by what they define.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FileDescriptor, MessageDescriptor,
};

/// The names under which crates ship files, and those that all clients know them by.
const NAMES: [(&str, &str); 5] = [
    ("error_details.proto", "google/rpc/error_details.proto"),
    ("status.proto", "google/rpc/status.proto"),
    ("health.proto", "grpc/health/v1/health.proto"),
    ("reflection_v1.proto", "grpc/reflection/v1/reflection.proto"),
    ("reflection_v1alpha.proto", "grpc/reflection/v1alpha/reflection.proto"),
];

/// FileDescriptorProto.name, FileDescriptorProto.dependency and FileDescriptorSet.file
/// (google/protobuf/descriptor.proto).
const NAME: u32 = 1;
const DEPENDENCY: u32 = 3;
const FILE: u32 = 1;

/// Encoded files with an index of what they define.
#[derive(Debug, Default)]
pub(super) struct ServedFiles {
    files: HashMap<String, Vec<u8>>,
    /// The file of each symbol.
    symbols: HashMap<String, String>,
    /// The file of each extension, by the message that it extends and its number.
    extensions: HashMap<String, BTreeMap<i32, String>>,
    messages: HashSet<String>,
    services: Vec<String>,
}

impl ServedFiles {
    /// Reads encoded sets of files, each with all that it imports.
    ///
    /// # Errors
    /// If they don't fit together.
    pub(super) fn new<const N: usize>(sets: [&[u8]; N]) -> Result<Self, String> {
        let mut served = Self::default();
        let mut pool = DescriptorPool::new();
        for set in sets {
            let mut renamed = Vec::new();
            for file in fields(set)?.into_iter().filter(|field| field.number == FILE) {
                let file = with_known_names(file.content)?;
                let name = fields(&file)?.into_iter().find(|field| field.number == NAME);
                let name = name.map_or(&[][..], |field| field.content);
                let name = String::from_utf8(name.to_vec()).map_err(|error| error.to_string())?;
                // The first file of a name counts.
                if served.files.contains_key(&name) {
                    continue;
                }
                renamed.extend(framed(FILE, &file));
                served.files.insert(name, file);
            }
            let read = pool.decode_file_descriptor_set(renamed.as_slice());
            read.map_err(|error| error.to_string())?;
        }
        for file in pool.files() {
            served.index(&file);
        }
        Ok(served)
    }

    /// The file of a name.
    pub(super) fn named(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// The file that defines a symbol: a type, a field, a value, a service, a method, an extension.
    pub(super) fn of_symbol(&self, symbol: &str) -> Option<&[u8]> {
        self.named(self.symbols.get(symbol)?)
    }

    /// The file that defines an extension of a message.
    pub(super) fn of_extension(&self, message: &str, number: i32) -> Option<&[u8]> {
        self.named(self.extensions.get(message)?.get(&number)?)
    }

    /// The numbers of a message's extensions; none if there is no such message.
    pub(super) fn extensions(&self, message: &str) -> Option<Vec<i32>> {
        if !self.messages.contains(message) {
            return None;
        }
        let all = self.extensions.get(message);
        Some(all.map(|all| all.keys().copied().collect()).unwrap_or_default())
    }

    /// The names of all services.
    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    fn index(&mut self, file: &FileDescriptor) {
        let name = file.name();
        for message in file.messages() {
            self.index_message(name, &message);
        }
        for it in file.enums() {
            self.index_enum(name, &it);
        }
        for extension in file.extensions() {
            self.index_extension(name, &extension);
        }
        for service in file.services() {
            self.services.push(service.full_name().to_owned());
            self.symbol(name, service.full_name());
            for method in service.methods() {
                self.symbol(name, method.full_name());
            }
        }
    }

    fn index_message(&mut self, file: &str, message: &MessageDescriptor) {
        self.messages.insert(message.full_name().to_owned());
        self.symbol(file, message.full_name());
        for field in message.fields() {
            self.symbol(file, field.full_name());
        }
        for oneof in message.oneofs() {
            self.symbol(file, oneof.full_name());
        }
        for child in message.child_messages() {
            self.index_message(file, &child);
        }
        for child in message.child_enums() {
            self.index_enum(file, &child);
        }
        for child in message.child_extensions() {
            self.index_extension(file, &child);
        }
    }

    fn index_enum(&mut self, file: &str, it: &EnumDescriptor) {
        self.symbol(file, it.full_name());
        for value in it.values() {
            // Values are named beside their enum; some clients ask for them below it.
            self.symbol(file, value.full_name());
            self.symbol(file, &format!("{}.{}", it.full_name(), value.name()));
        }
    }

    fn index_extension(&mut self, file: &str, extension: &ExtensionDescriptor) {
        self.symbol(file, extension.full_name());
        let of = extension.containing_message().full_name().to_owned();
        let number = i32::try_from(extension.number()).unwrap_or_default();
        self.extensions.entry(of).or_default().insert(number, file.to_owned());
    }

    fn symbol(&mut self, file: &str, name: &str) {
        self.symbols.entry(name.to_owned()).or_insert_with(|| file.to_owned());
    }
}

/// A field of an encoded message.
struct EncodedField<'a> {
    number: u32,
    /// The whole field.
    encoded: &'a [u8],
    /// What a field with a length holds.
    content: &'a [u8],
}

/// The fields of an encoded message, in their order.
fn fields(message: &[u8]) -> Result<Vec<EncodedField<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let (number, kind) = decode_key(&mut rest).map_err(|error| error.to_string())?;
        let mut content: &[u8] = &[];
        if kind == WireType::LengthDelimited {
            let length = decode_varint(&mut rest).map_err(|error| error.to_string())?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            content = rest.get(..length).ok_or("a descriptor is cut off")?;
            rest = &rest[length..];
        } else {
            let skipped = skip_field(kind, number, &mut rest, DecodeContext::default());
            skipped.map_err(|error| error.to_string())?;
        }
        found.push(EncodedField { number, encoded: &start[..start.len() - rest.len()], content });
    }
    Ok(found)
}

/// A field with a length.
fn framed(number: u32, content: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(content.len() + 8);
    encode_key(number, WireType::LengthDelimited, &mut framed);
    encode_varint(content.len() as u64, &mut framed);
    framed.extend_from_slice(content);
    framed
}

/// An encoded file with its name and its imports as all clients know them. The rest stays byte for
/// byte: decoding it would drop the options of other files.
fn with_known_names(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut renamed = Vec::with_capacity(file.len() + 64);
    for field in fields(file)? {
        let known = NAMES.iter().find(|(shipped, _)| shipped.as_bytes() == field.content);
        match known {
            Some((_, name)) if matches!(field.number, NAME | DEPENDENCY) => {
                renamed.extend(framed(field.number, name.as_bytes()));
            }
            _ => renamed.extend_from_slice(field.encoded),
        }
    }
    Ok(renamed)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn files_have_the_names_that_clients_know() {
        let files = ServedFiles::new([
            bookstore_proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ])
        .unwrap();
        let name_of = |symbol: &str| files.symbols.get(symbol).map(String::as_str);
        for (symbol, name) in [
            ("google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
            ("grpc.health.v1.Health", "grpc/health/v1/health.proto"),
            ("grpc.health.v1.Health.Check", "grpc/health/v1/health.proto"),
            ("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"),
            (
                "grpc.reflection.v1alpha.ServerReflection",
                "grpc/reflection/v1alpha/reflection.proto",
            ),
            ("buf.validate.field", "buf/validate/validate.proto"),
            ("google.api.field_behavior", "google/api/field_behavior.proto"),
            ("google.protobuf.Any", "google/protobuf/any.proto"),
            ("bookstore.v1.Book", "bookstore/v1/book.proto"),
        ] {
            assert_eq!(name_of(symbol), Some(name), "{symbol}");
            assert!(files.named(name).is_some(), "{name}");
        }
        let imports = |name: &String| {
            let file = prost_types::FileDescriptorProto::decode(files.named(name).unwrap());
            file.unwrap().dependency
        };
        for (name, import) in files
            .files
            .keys()
            .flat_map(|it| imports(it).into_iter().map(move |import| (it, import)))
        {
            assert!(files.files.contains_key(&import), "{name} imports {import}");
        }
        assert!(files.extensions("google.protobuf.FieldOptions").unwrap().contains(&1052));
        assert!(files.of_extension("google.protobuf.FieldOptions", 1052).is_some());
        assert_eq!(files.extensions("bookstore.v1.Book"), Some(Vec::new()));
        assert_eq!(files.extensions("no.such"), None);
    }
}
