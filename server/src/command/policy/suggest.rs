//! `bookstore policy suggest`: what services in report mode have seen.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use bookstore_auth::policy::{MethodName, SeenCall, SeenCaller};
use clap::Args;
use http::{Request, header::AUTHORIZATION, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use crate::{admin, command::failure::Failure};

/// The timeout of each service's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The arguments of `suggest`.
#[derive(Args)]
pub struct Arguments {
    /// Where the calls were seen: the admin addresses of services, such as 127.0.0.1:50052, or
    /// files with what GET /policy/calls answers there; all of them are added up
    #[arg(required = true)]
    from: Vec<String>,
    /// A file with a token for the admin addresses: the role that operators.see names
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
}

/// The calls of all sources.
///
/// # Errors
/// If a source can't be read.
pub async fn seen(arguments: &Arguments) -> Result<Vec<SeenCall>, Failure> {
    let token = match &arguments.token_file {
        Some(path) => {
            Some(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => None,
    };
    let mut calls = Vec::new();
    for source in &arguments.from {
        let text = match source.parse::<SocketAddr>() {
            Ok(address) => timeout(TIMEOUT, ask(address, token.as_deref()))
                .await
                .map_err(|_| "no answer within 10 s".into())
                .and_then(|answer| answer),
            Err(_) => fs::read_to_string(source).map_err(Failure::from),
        };
        let text = text.map_err(|error| format!("{source}: {error}"))?;
        calls.extend(parse(&text).map_err(|error| format!("{source}: {error}"))?);
    }
    Ok(calls)
}

async fn ask(address: SocketAddr, token: Option<&str>) -> Result<String, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its one request.
    tokio::spawn(connection);
    let mut request = Request::get(admin::POLICY_CALLS).header(HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
    }
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    match status.is_success() {
        true => Ok(text),
        false => Err(format!("{status}: {}", text.trim()).into()),
    }
}

/// The calls of an answer of [`admin::POLICY_CALLS`].
fn parse(text: &str) -> Result<Vec<SeenCall>, String> {
    let form = "is no answer of GET /policy/calls";
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{form}: {error}"))?;
    let list = value.as_array().ok_or(form)?;
    list.iter().map(|call| one(call).ok_or_else(|| form.to_owned())).collect()
}

fn one(call: &Value) -> Option<SeenCall> {
    let (service, method) = call.get("method")?.as_str()?.split_once('/')?;
    let count = call.get("count")?.as_u64()?;
    let roles = call.get("roles")?.as_array()?.iter();
    let roles: Option<Vec<String>> = roles.map(|role| role.as_str().map(str::to_owned)).collect();
    let caller = match (roles?, call.get("caller")?.as_str()) {
        (roles, _) if !roles.is_empty() => SeenCaller::Roles(roles),
        (_, Some(caller)) => SeenCaller::NoRole(caller.to_owned()),
        (_, None) => SeenCaller::NoCredentials,
    };
    let method = MethodName { service: service.to_owned(), method: method.to_owned() };
    Some(SeenCall { method, caller, count })
}
