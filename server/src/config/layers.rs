//! Where values come from: the defaults, `.env` for the database's URL, the file, the environment
//! and the flags. Each layer overrides the one before.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    dot_env,
    flags::SettingFlags,
    names,
    settings::{DATABASE_URL, Meaning, NAMES, Name, SETTINGS, Setting},
};

const CONFIG_VARIABLE: &str = "BOOKSTORE_CONFIG";

/// The variable that must not be empty.
const EMPTY_REFUSED: &str = "DATABASE_URL";

/// Where a value was given.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(&'static str),
    Flag(&'static str),
    Secret { path: PathBuf, named: Box<Self> },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(formatter, "the default"),
            Self::File { path, line } => write!(formatter, "line {line} of {}", path.display()),
            Self::Variable(name) => write!(formatter, "the environment variable {name}"),
            Self::Flag(name) => write!(formatter, "the flag --{name}"),
            Self::Secret { path, named } => {
                write!(formatter, "the file {}, named by {named}", path.display())
            }
        }
    }
}

/// A value that isn't checked yet.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// What all layers together give.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// One a setting, in the table's order; a secret whose file can't be read is omitted and noted
    /// as a problem.
    pub(super) given: Vec<Given>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// One entry of one layer.
type LayerEntry = (&'static Name, String, Origin);

/// Puts the layers together. `folder` is where `.env` may be.
pub(super) fn collect(
    flags: &SettingFlags,
    environment: impl Iterator<Item = (String, String)>,
    folder: &Path,
) -> Layers {
    let mut layers = Layers::default();
    let mut variables = Vec::new();
    let mut file = None;
    // An empty variable counts as unset, so that manifests can unset one. An empty `DATABASE_URL`
    // is a mistake: the default would be a new SQLite file.
    let mut has_empty_url = false;
    for (variable, text) in environment {
        if text.is_empty() {
            has_empty_url |= variable == EMPTY_REFUSED;
            continue;
        }
        if variable == CONFIG_VARIABLE {
            file = Some((PathBuf::from(text), format!("the environment variable {variable}")));
        } else if let Some(name) = NAMES.iter().find(|name| name.variable == variable) {
            variables.push((name, text, Origin::Variable(&name.variable)));
        } else {
            layers.warnings.extend(names::warning(&variable));
        }
    }
    if let Some(path) = &flags.file {
        file = Some((path.clone(), "the flag --config".to_owned()));
    }
    let from_file = match file {
        Some((path, named)) => read_file(&path, &named, &mut layers.problems),
        None => Vec::new(),
    };
    let from_flags = flags
        .given
        .iter()
        .map(|(name, text)| (*name, text.clone(), Origin::Flag(&name.flag)))
        .collect();

    let names_url = |(name, ..): &LayerEntry| name.setting().key == DATABASE_URL.key;
    let mut all = [Vec::new(), from_file, variables, from_flags];
    if !all.iter().flatten().any(names_url) {
        match dot_env::url_in(folder) {
            Ok(found) => {
                let name = NAMES.iter().find(|name| name.variable == dot_env::READ);
                let path = folder.join(dot_env::DOT_ENV);
                let entry = |(name, (line, url))| (name, url, Origin::File { path, line });
                all[0].extend(name.zip(found).map(entry));
            }
            Err(problem) => layers.problems.push(problem),
        }
    }
    if has_empty_url && !all[2..].iter().flatten().any(names_url) {
        let message = "database_url from the environment variable DATABASE_URL: is empty; \
                       unset the variable for the default";
        layers.problems.push(message.to_owned());
    }
    for setting in SETTINGS {
        let given = all.iter().rev().find_map(|layer| in_layer(layer, setting));
        match given.unwrap_or_else(|| Ok((setting.default.to_owned(), Origin::Default))) {
            Ok((text, origin)) => layers.given.push(Given { setting, text, origin }),
            Err(problem) => layers.problems.push(problem),
        }
    }
    layers
}

/// What one layer gives for a setting, if anything.
fn in_layer(layer: &[LayerEntry], setting: &Setting) -> Option<Result<(String, Origin), String>> {
    let find = |wanted: fn(Meaning) -> Option<&'static Setting>| {
        layer.iter().find(|(name, ..)| wanted(name.meaning).is_some_and(|s| s.key == setting.key))
    };
    let value = find(|meaning| match meaning {
        Meaning::Value(setting) => Some(setting),
        _ => None,
    });
    let secret_file = find(|meaning| match meaning {
        Meaning::SecretFile(setting) => Some(setting),
        _ => None,
    });
    match (value, secret_file) {
        (None, None) => None,
        (Some((_, text, origin)), None) => Some(Ok((text.clone(), origin.clone()))),
        (None, Some((name, path, origin))) => Some(read_secret(name, path, origin)),
        (Some((name, _, origin)), Some((other, _, beside))) => Some(Err(format!(
            "{} from {origin} and {} from {beside}: only one of the two may be given",
            name.key, other.key
        ))),
    }
}

fn read_secret(name: &Name, path: &str, named: &Origin) -> Result<(String, Origin), String> {
    let content = fs::read_to_string(path)
        .map_err(|error| format!("{} = {path:?} from {named}: {error}", name.key))?;
    let text = content.strip_suffix('\n').unwrap_or(&content);
    let text = text.strip_suffix('\r').unwrap_or(text).to_owned();
    Ok((text, Origin::Secret { path: path.into(), named: Box::new(named.clone()) }))
}

fn read_file(path: &Path, named: &str, problems: &mut Vec<String>) -> Vec<LayerEntry> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(format!("the file {shown}, named by {named}: {error}"));
            return Vec::new();
        }
    };
    let line_of =
        |position: usize| 1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count();
    let table = match DeTable::parse(&text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            // The error's own text repeats the line, which may hold a secret.
            let line = line_of(error.span().map_or(0, |span| span.start));
            problems.push(format!("line {line} of {shown}: {}", error.message()));
            return Vec::new();
        }
    };
    let mut entries = Vec::new();
    for (key, value) in &table {
        let origin = Origin::File { path: path.to_owned(), line: line_of(key.span().start) };
        let key = key.get_ref();
        let Some(name) = NAMES.iter().find(|name| name.key == **key) else {
            let hint = names::nearest(key, |name| &name.key);
            let hint = hint.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            problems.push(format!("unknown key {key:?} in {origin}{hint}"));
            continue;
        };
        match plain(value.get_ref()) {
            Some(text) => entries.push((name, text, origin)),
            None => problems.push(format!(
                "{key} from {origin}: must be a single value, found: {}",
                value.get_ref().type_str()
            )),
        }
    }
    entries
}

/// The text of a value, as it would be given in the environment.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(
            // Hexadecimal and the like become decimal. A number that is too large stays as written.
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
