//! Which fields of a resource an update changes (AIP-134, AIP-161).

use prost_reflect::{FieldDescriptor, ReflectMessage};
use prost_types::FieldMask;

use super::{
    behavior::{Behavior, behaviors},
    check::Check,
    paths::Paths,
};

/// Resolves an update's mask: the fields that it names, all for `*` except unset input-only fields,
/// which a reader of the resource doesn't get, and without a mask those that are populated. Adds a
/// violation at `field` for every path that can't be changed.
pub fn resolve(
    check: &mut Check<'_>,
    field: &str,
    mask: Option<&FieldMask>,
    resource: &impl ReflectMessage,
) -> Paths {
    let descriptor = resource.descriptor();
    let changeable: Vec<FieldDescriptor> = descriptor.fields().filter(is_changeable).collect();
    let names = |fields: &[FieldDescriptor]| -> Vec<String> {
        fields.iter().map(|field| field.name().to_owned()).collect()
    };
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    match paths {
        [] => {
            let resource = resource.transcode_to_dynamic();
            let mut populated = changeable;
            populated.retain(|field| resource.has_field(field));
            return Paths::named(names(&populated));
        }
        [all] if all == "*" => {
            let sent = resource.transcode_to_dynamic();
            let kept = |field: &FieldDescriptor| {
                behaviors(field).contains(&Behavior::InputOnly) && !sent.has_field(field)
            };
            let mut named = changeable;
            named.retain(|field| !kept(field));
            return Paths::named(names(&named));
        }
        _ => {}
    }
    let changeable = names(&changeable);
    let mut resolved = Vec::new();
    for path in paths {
        let violation = if changeable.contains(path) {
            resolved.push(path.clone());
            continue;
        } else if path == "*" {
            "`*` stands alone".to_owned()
        } else if descriptor.get_field_by_name(path).is_some() {
            format!("`{path}` can't be changed by a mask")
        } else if path.split('.').next().is_some_and(|first| changeable.iter().any(|f| f == first))
        {
            format!("`{path}` is part of a field; fields are changed as a whole")
        } else {
            let name = descriptor.name();
            format!(
                "`{path}` is no field of {name}; those that can change: {}",
                changeable.join(", ")
            )
        };
        check.violation(field, violation);
    }
    Paths::named(resolved)
}

/// Neither the key, nor the etag, nor what only the service sets.
fn is_changeable(field: &FieldDescriptor) -> bool {
    !matches!(field.name(), "id" | "etag") && !behaviors(field).contains(&Behavior::OutputOnly)
}
