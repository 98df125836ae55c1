//! Reads the URL of PostgreSQL servers once: into nodes, each with its name and a URL of its own
//! for the driver (PostgreSQL, 34.1.1.2. Connection URIs, 34.1.2. Parameter Key Words).

use std::{collections::BTreeMap, net::IpAddr};

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

/// The values of `sslmode`, from the weakest to the strongest. libpq also has `allow`, which is
/// refused: an attacker in between decides whether such a session is encrypted.
pub(in super::super) const SSL_MODES: [&str; 5] =
    ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// A node.
pub(super) struct UrlNode {
    /// Its address.
    pub(super) name: String,
    /// Its URL for the driver.
    pub(super) url: String,
    /// The `sslmode` of its connections.
    pub(super) ssl_mode: &'static str,
    /// The weakest `sslmode` that needs no warning.
    pub(super) expected: &'static str,
}

/// Reads a URL that begins with `postgres://` or `postgresql://`. `default` is the `sslmode` of a
/// URL that has none; without one it is `verify-full`, and `prefer` for nodes on this machine.
///
/// # Errors
/// A sentence without secrets that names the parameter at fault.
pub(super) fn read(text: &str, default: Option<&'static str>) -> Result<Vec<UrlNode>, String> {
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
    values.retain(|_, value| !value.is_empty());
    let has_both = addresses.is_some() && is_named;
    let encryption = Encryption::read(&mut values, has_both, default)?;
    nodes(&values, dialed(places, addresses)?, &ports, &encryption)
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

/// The parameters of TLS.
struct Encryption {
    given: Option<&'static str>,
    default: Option<&'static str>,
    root: Option<String>,
    /// Whether there is a `hostaddr` beside a `host`.
    has_both: bool,
}

impl Encryption {
    /// Takes and checks the parameters that are the same for all nodes.
    fn read(
        values: &mut BTreeMap<String, String>,
        has_both: bool,
        default: Option<&'static str>,
    ) -> Result<Self, String> {
        let given = match values.remove("sslmode").as_deref() {
            None => None,
            Some("allow") => {
                return Err("has sslmode=allow, which may encrypt nothing: write prefer, or a \
                            stronger mode"
                    .to_owned());
            }
            Some(mode) => {
                let known = SSL_MODES.into_iter().find(|known| *known == mode);
                let all = SSL_MODES.join(", ");
                Some(known.ok_or_else(|| format!("has an sslmode that is none of {all}"))?)
            }
        };
        if values.contains_key("sslcert") != values.contains_key("sslkey") {
            return Err("has one of sslcert and sslkey, which need each other".to_owned());
        }
        let root = values.get("sslrootcert").cloned();
        // The driver has no word for it. It takes the well-known authorities anyway.
        if root.as_deref() == Some("system") {
            values.remove("sslrootcert");
        }
        Ok(Self { given, default, root, has_both })
    }

    /// The mode of the connections to a host, in the driver's words with libpq's meaning.
    fn mode(&self, host: &str) -> Result<&'static str, String> {
        // TLS is for TCP alone, as in libpq.
        if host.starts_with('/') {
            return Ok("disable");
        }
        let mode = match (self.root.as_deref(), self.given.or(self.default)) {
            (Some("system"), None | Some("verify-full")) => "verify-full",
            (Some("system"), _) => {
                return Err("has sslrootcert=system, which needs sslmode=verify-full".to_owned());
            }
            // As libpq does.
            (Some(_), Some("require")) => "verify-ca",
            (Some(_), Some("disable" | "prefer")) => {
                return Err("has sslrootcert, which needs sslmode=verify-ca or verify-full: \
                            a weaker mode verifies nothing"
                    .to_owned());
            }
            (_, Some(mode)) => mode,
            (None, None) if is_this_machine(host) => "prefer",
            (_, None) => "verify-full",
        };
        if self.has_both && mode == "verify-full" {
            let message = "has hostaddr beside host, which sslmode=verify-full can't verify";
            return Err(message.to_owned());
        }
        Ok(mode)
    }

    /// The weakest mode of a host that needs no warning.
    fn expected(&self, host: &str) -> &'static str {
        match self.default {
            Some(mode) => mode,
            None if is_this_machine(host) => "disable",
            None => "verify-full",
        }
    }
}

/// Whether a host is this machine for certain, so that its traffic leaves no machine.
fn is_this_machine(host: &str) -> bool {
    let is_loopback = |address: IpAddr| address.is_loopback();
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(is_loopback)
}

/// What is dialled: addresses in place of names where there are any.
fn dialed(hosts: Vec<String>, addresses: Option<Vec<String>>) -> Result<Vec<String>, String> {
    let Some(addresses) = addresses else { return Ok(hosts) };
    let unnamed = hosts.iter().all(String::is_empty);
    if !unnamed && hosts.len() != addresses.len() {
        return Err(format!("has {} hosts and {} hostaddr", hosts.len(), addresses.len()));
    }
    if addresses.iter().any(|address| address.parse::<IpAddr>().is_err()) {
        return Err("has a hostaddr that is no IP address".to_owned());
    }
    Ok(addresses)
}

/// A node for each host.
fn nodes(
    values: &BTreeMap<String, String>,
    hosts: Vec<String>,
    ports: &[String],
    encryption: &Encryption,
) -> Result<Vec<UrlNode>, String> {
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(format!("has {} hosts and {} ports", hosts.len(), ports.len()));
    }
    let defaults = PgConnectOptions::new_without_pgpass();
    let mut nodes: Vec<UrlNode> = Vec::new();
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
        if nodes.iter().any(|known| known.name == name) {
            return Err(format!("names {name} twice"));
        }
        let mut url = format!("postgres://?host={}&port={port}", encode(host));
        for (key, value) in values {
            url += &format!("&{key}={}", encode(value));
        }
        // Always, since the driver would take PGSSLMODE otherwise.
        let ssl_mode = encryption.mode(host)?;
        url += &format!("&sslmode={ssl_mode}");
        nodes.push(UrlNode { name, url, ssl_mode, expected: encryption.expected(host) });
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
