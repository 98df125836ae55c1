//! Reads the URL of PostgreSQL servers once: into nodes, each with its name and a URL of its own
//! for the driver (PostgreSQL, 34.1.1.2. Connection URIs, 34.1.2. Parameter Key Words).

use std::collections::BTreeMap;

use sqlx::postgres::PgConnectOptions;

use super::text::{decode, encode, parameters, split};

/// The parameters that connections obey.
const OBEYED: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

/// Other spellings of parameters.
const ALIASES: [(&str, &str); 6] = [
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("username", "user"),
];

/// Parameters of libpq with the values that name what connections do anyway. Other values are
/// refused.
const FIXED: [(&str, &[&str]); 9] = [
    ("channel_binding", &["disable", "prefer"]),
    ("client_encoding", &["UTF8", "UTF-8", "utf8", "utf-8", "auto"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("replication", &["false", "off", "no", "0"]),
    ("sslcompression", &["0"]),
    ("sslnegotiation", &["postgres"]),
    ("sslsni", &["1"]),
    ("target_session_attrs", &["any"]),
];

/// The values of `sslmode`, from the weakest to the strongest.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// The name of a node and its URL.
pub(super) type NamedNode = (String, String);

/// Reads a URL that begins with `postgres://` or `postgresql://`.
///
/// # Errors
/// A sentence without secrets that names the parameter at fault.
pub(super) fn read(text: &str) -> Result<Vec<NamedNode>, String> {
    check_clarity(text)?;
    let (place, query) = split(text, '?');
    let rest = place.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, path) = split(rest, '/');
    let (person, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = split(person, ':');
    let mut values = BTreeMap::new();
    for (name, value) in [("user", user), ("password", password.unwrap_or_default())] {
        values.insert(name.to_owned(), decode(value)?);
    }
    values.insert("dbname".to_owned(), decode(path.unwrap_or_default())?);
    let (mut places, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (host, port) = host_and_port(host)?;
        places.push(host);
        ports.push(port);
    }
    let mut options = Vec::new();
    for (name, value) in parameters(query)? {
        if name == "options" {
            options.push(value);
        } else if let Some(key) = session_option(&name)? {
            options.push(format!("-c {key}={}", value.replace('\\', "\\\\").replace(' ', "\\ ")));
        } else if let Some(name) = obeyed(&name, &value)? {
            match name {
                "host" => places = value.split(',').map(str::to_owned).collect(),
                "port" => ports = value.split(',').map(str::to_owned).collect(),
                name => _ = values.insert(name.to_owned(), value),
            }
        }
    }
    values.insert("options".to_owned(), options.join(" "));
    let addresses = values.remove("hostaddr").filter(|all| !all.is_empty());
    let addresses = addresses.map(|all| all.split(',').map(str::to_owned).collect::<Vec<_>>());
    let is_named = places.iter().any(|host| !host.is_empty());
    encryption(&mut values, addresses.is_some() && is_named)?;
    values.retain(|_, value| !value.is_empty());
    nodes(&values, dialed(places, addresses)?, &ports)
}

/// The name of an obeyed parameter; `None` for one that changes nothing.
fn obeyed(name: &str, value: &str) -> Result<Option<&'static str>, String> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| *name);
    // As libpq does for URLs of JDBC.
    if (name, value) == ("ssl", "true") {
        return Err("has the parameter ssl: write sslmode=require".to_owned());
    }
    if let Some(known) = OBEYED.iter().chain(&["user"]).find(|known| **known == name) {
        return Ok(Some(known));
    }
    if let Some((_, values)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        if value.is_empty() || values.contains(&value) {
            return Ok(None);
        }
        let values = values.join(" or ");
        return Err(format!("has the parameter {name} with a value other than {values}"));
    }
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let shown = if is_name { format!(" {name}") } else { String::new() };
    let all = OBEYED.join(", ");
    Err(format!("has the parameter{shown}, which is not known here; there are {all}, user"))
}

/// The name of the session's setting in `options[name]`.
fn session_option(name: &str) -> Result<Option<&str>, String> {
    let Some(rest) = name.strip_prefix("options[") else { return Ok(None) };
    let key = rest.strip_suffix(']').filter(|key| {
        !key.is_empty()
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
    });
    key.map(Some).ok_or_else(|| "has a parameter options[…] without a setting's name".to_owned())
}

/// Checks the parameters of TLS, and says what they mean to libpq in the driver's words. `has_both`
/// says whether there is a `hostaddr` beside a `host`.
fn encryption(values: &mut BTreeMap<String, String>, has_both: bool) -> Result<(), String> {
    let get = |name: &str| values.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let mode = get("sslmode");
    if mode.is_some_and(|mode| !SSL_MODES.contains(&mode)) {
        return Err(format!("has an sslmode that is none of {}", SSL_MODES.join(", ")));
    }
    if get("sslcert").is_some() != get("sslkey").is_some() {
        return Err("has one of sslcert and sslkey, which need each other".to_owned());
    }
    let mode = match (get("sslrootcert"), mode) {
        (Some("system"), None | Some("verify-full")) => Some("verify-full"),
        (Some("system"), _) => {
            return Err("has sslrootcert=system, which needs sslmode=verify-full".to_owned());
        }
        // As libpq does.
        (Some(_), Some("require")) => Some("verify-ca"),
        (Some(_), None | Some("disable" | "allow" | "prefer")) => {
            return Err("has sslrootcert, which needs sslmode=verify-ca or verify-full: \
                        a weaker mode verifies nothing"
                .to_owned());
        }
        (_, mode) => mode,
    };
    if has_both && mode == Some("verify-full") {
        return Err("has hostaddr beside host, which sslmode=verify-full can't verify".to_owned());
    }
    let mode = mode.map(str::to_owned);
    if get("sslrootcert") == Some("system") {
        values.remove("sslrootcert");
    }
    values.extend(mode.map(|mode| ("sslmode".to_owned(), mode)));
    Ok(())
}

/// What is dialled: addresses in place of names where there are any.
fn dialed(hosts: Vec<String>, addresses: Option<Vec<String>>) -> Result<Vec<String>, String> {
    let Some(addresses) = addresses else { return Ok(hosts) };
    let unnamed = hosts.iter().all(String::is_empty);
    if !unnamed && hosts.len() != addresses.len() {
        return Err(format!("has {} hosts and {} hostaddr", hosts.len(), addresses.len()));
    }
    if addresses.iter().any(|address| address.parse::<std::net::IpAddr>().is_err()) {
        return Err("has a hostaddr that is no IP address".to_owned());
    }
    Ok(addresses)
}

/// A node for each host.
fn nodes(
    values: &BTreeMap<String, String>,
    hosts: Vec<String>,
    ports: &[String],
) -> Result<Vec<NamedNode>, String> {
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(format!("has {} hosts and {} ports", hosts.len(), ports.len()));
    }
    let defaults = PgConnectOptions::new_without_pgpass();
    let mut nodes: Vec<NamedNode> = Vec::new();
    for (index, host) in hosts.into_iter().enumerate() {
        let port = match ports.get(index).unwrap_or(&ports[0]).as_str() {
            "" => defaults.get_port(),
            port => port_number(port)?,
        };
        let host = if host.is_empty() { defaults.get_host().to_owned() } else { host };
        let host = host.strip_suffix('/').filter(|path| path.starts_with('/')).unwrap_or(&host);
        let name = match host {
            host if host.contains(':') => format!("[{}]:{port}", host.to_ascii_lowercase()),
            host if host.starts_with('/') => format!("{host}:{port}"),
            host => format!("{}:{port}", host.to_ascii_lowercase()),
        };
        if nodes.iter().any(|(known, _)| *known == name) {
            return Err(format!("names {name} twice"));
        }
        let mut url = format!("postgres://?host={}&port={port}", encode(host));
        for (key, value) in values {
            url += &format!("&{key}={}", encode(value));
        }
        // TLS is for TCP alone, as in libpq.
        if host.starts_with('/') {
            url += "&sslmode=disable";
        }
        nodes.push((name, url));
    }
    Ok(nodes)
}

/// The host of an authority, without the brackets of an IPv6 address, and its port.
fn host_and_port(text: &str) -> Result<(String, String), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("has a [ without its ]")?;
        let address = decode(address)?;
        let number = address.split('%').next().unwrap_or_default();
        if number.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("has brackets around something that is no IPv6 address".to_owned());
        }
        return match port.strip_prefix(':') {
            Some(port) => Ok((address, port.to_owned())),
            None if port.is_empty() => Ok((address, String::new())),
            None => Err("has text between the ] of an IPv6 address and its port".to_owned()),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            Err("has an IPv6 address without brackets: write [::1] or [::1]:5432".to_owned())
        }
        Some((host, port)) => Ok((decode(host)?, port.to_owned())),
        None => Ok((decode(text)?, String::new())),
    }
}

fn port_number(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|port| digits && *port > 0);
    number.ok_or_else(|| "has a port that is no number from 1 to 65535".to_owned())
}

/// Refuses URLs that may hold a password with an unescaped `/`, `?`, `#` or `@`.
fn check_clarity(text: &str) -> Result<(), String> {
    let escape = "a user or password with special characters must be percent-encoded";
    let (place, query) = split(text, '?');
    let rest = place.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, path) = split(rest, '/');
    let (person, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let has_number = |host: &str| {
        let port = match host.rsplit_once(']') {
            Some((_, port)) => port.strip_prefix(':').unwrap_or(port),
            None => host.rsplit_once(':').map_or("", |(_, port)| port),
        };
        port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let unclear = text.contains('#')
        || person.contains('@')
        || path.is_some_and(|path| path.contains('@'))
        || query.is_some_and(|all| all.contains('@'))
        || !hosts.split(',').all(has_number);
    if unclear {
        return Err(format!("can't be read for certain: {escape}, the port a number"));
    }
    Ok(())
}
