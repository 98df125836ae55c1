//! `bookstore policy`: checks a policy, shows it, and answers what it allows. No command changes
//! anything, and none but `suggest` needs a service that runs.

mod suggest;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bookstore_auth::{
    Identity, Policy, Verdict,
    policy::{MethodName, PolicyError, VerifiedCredentials},
};
use clap::{Args, Subcommand};

use super::{
    failure::{Failure, USAGE},
    print,
};
use crate::{
    app,
    config::{Config, SettingFlags, environment},
};

/// The arguments of `policy`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: PolicyVerb,
}

#[derive(Subcommand)]
enum PolicyVerb {
    /// Checks a policy against the methods of this program, as the start of the service does.
    Check(FileArgument),
    /// Prints who may call which method, and which credentials have which roles, as tables.
    Show(FileArgument),
    /// Says whether a caller may call a method, and by which line. The exit code is 1 if not.
    Explain(ExplainArguments),
    /// Runs a file of cases that the policy must decide as they say.
    Test(CasesArguments),
    /// Makes a policy that allows the calls that services in report mode have seen.
    Suggest(suggest::Arguments),
}

/// The policy to read.
#[derive(Args)]
struct FileArgument {
    /// The policy [default: that of the setting policy_file]
    file: Option<PathBuf>,
}

#[derive(Args)]
struct ExplainArguments {
    /// The caller: a role, anyone (no credentials), everyone (credentials without a role),
    /// token:NAME, cert:NAME or jwt:ISSUER#SUBJECT
    #[arg(long = "as", value_name = "CALLER")]
    caller: String,
    /// The method, such as BookService/GetBook
    method: String,
}

#[derive(Args)]
struct CasesArguments {
    /// The file of cases
    cases: PathBuf,
    /// Fails as well if a method is undecided for a role
    #[arg(long)]
    every: bool,
}

/// A policy with its file.
struct PolicyText {
    path: PathBuf,
    text: String,
    policy: Policy,
}

/// Carries the command out.
///
/// # Errors
/// If output or a running service fails.
pub async fn run(settings: &SettingFlags, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let file = match &arguments.verb {
        PolicyVerb::Check(argument) | PolicyVerb::Show(argument) => argument.file.as_deref(),
        PolicyVerb::Explain(_) | PolicyVerb::Test(_) | PolicyVerb::Suggest(_) => None,
    };
    let read = match read(settings, file)? {
        Ok(read) => read,
        Err(messages) => return Ok(refuse(&messages)),
    };
    let PolicyText { path, text, policy } = &read;
    let verified = match arguments.verb {
        PolicyVerb::Check(_) => verified(settings),
        _ => None,
    };
    let unverified = verified.map(|verified| policy.unverified(verified)).unwrap_or_default();
    for warning in policy.warnings().iter().chain(&unverified) {
        print::error(&format!("warning: {}", at(path, warning)));
    }
    match &arguments.verb {
        PolicyVerb::Check(_) => {
            let (methods, roles) = (policy.lines().len(), policy.roles().len());
            print::line(&format!("{}: {methods} methods, {roles} roles", path.display()));
            Ok(ExitCode::SUCCESS)
        }
        PolicyVerb::Show(_) => {
            print::line(policy.tables().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        PolicyVerb::Explain(question) => Ok(explain(&read, question)),
        PolicyVerb::Test(test) => run_cases(policy, test),
        PolicyVerb::Suggest(arguments) => {
            let seen = suggest::seen(arguments).await?;
            print::line(policy.suggestion(text, &seen).trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Reads the policy, or says what is wrong with it or with the settings.
fn read(
    settings: &SettingFlags,
    file: Option<&Path>,
) -> Result<Result<PolicyText, Vec<String>>, Failure> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => match Config::load(settings, environment()) {
            Ok(config) => match config.security.policy {
                Some(path) => path,
                None => return Ok(Err(vec!["no policy: the setting policy_file is empty".into()])),
            },
            Err(error) => return Ok(Err(vec![error.to_string()])),
        },
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Ok(Err(vec![format!("{}: {error}", path.display())])),
    };
    match Policy::parse(&text, &app::policy_methods()?) {
        Ok(policy) => Ok(Ok(PolicyText { path, text, policy })),
        Err(errors) => Ok(Err(errors.iter().map(|error| at(&path, error)).collect())),
    }
}

/// Which credentials the service verifies by the settings; none if the settings belong to no service
/// with a policy. A policy can be checked on a machine without them.
fn verified(settings: &SettingFlags) -> Option<VerifiedCredentials> {
    let security = Config::load(settings, environment()).ok()?.security;
    security.policy.is_some().then(|| security.verified())
}

/// An error with its place, as compilers write it: `policy.toml:26: message`.
fn at(path: &Path, error: &PolicyError) -> String {
    format!("{}:{}: {}", path.display(), error.line, error.message)
}

fn refuse(messages: &[String]) -> ExitCode {
    print::last_words(messages.join("\n"));
    ExitCode::from(USAGE)
}

fn explain(read: &PolicyText, question: &ExplainArguments) -> ExitCode {
    let PolicyText { path, policy, .. } = read;
    let (service, name) = question.method.split_once('/').unwrap_or((&question.method, ""));
    // A whole path has the package in front.
    let service = service.strip_prefix("bookstore.v1.").unwrap_or(service);
    let method = MethodName { service: service.to_owned(), method: name.to_owned() };
    let Some(rule) = policy.rule(&method) else {
        return refuse(&[format!("{} is no method, such as BookService/GetBook", question.method)]);
    };
    let roles = match roles(policy, &question.caller) {
        Ok(roles) => roles,
        Err(message) => return refuse(&[message]),
    };
    let verdict = policy.verdict(&method, roles);
    let held = match roles.map(|roles| policy.names_of(roles)) {
        None => "has no credentials".to_owned(),
        Some(names) if names.is_empty() => "has no role".to_owned(),
        Some(names) => format!("has the roles: {}", names.join(" ")),
    };
    let answer = match verdict {
        Verdict::Allowed => "may call",
        _ => "may not call",
    };
    let rule = rule.text(policy.roles());
    print::line(&format!("{} {answer} {method}", question.caller));
    print::line(&format!("  {} {held}", question.caller));
    print::line(&format!("  {} says {method} = {rule:?}", path.display()));
    if let Some(entries) = policy.entries(&method) {
        let rule = policy.rule(entries).unwrap_or_default().text(policy.roles());
        print::line(&format!("  each entry needs {entries} = {rule:?}"));
    }
    if verdict == Verdict::Allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The roles of a caller as the command line names it; none has no credentials.
fn roles(policy: &Policy, caller: &str) -> Result<Option<bookstore_auth::RoleSet>, String> {
    if caller == "anyone" {
        return Ok(None);
    }
    if caller == "everyone" {
        return Ok(Some(bookstore_auth::RoleSet::default()));
    }
    let identity = match caller.split_once(':') {
        Some(("token", name)) => Identity::Token { name: name.into() },
        Some(("cert", name)) => Identity::Certificate { name: name.into() },
        Some(("jwt", rest)) => {
            let (issuer, subject) = rest.split_once('#').unwrap_or((rest, ""));
            if !policy.issuers().iter().any(|known| *known.name == *issuer) {
                return Err(format!("{issuer} is no issuer of the policy"));
            }
            let roles = std::sync::Arc::from([]);
            Identity::Jwt { issuer: issuer.into(), subject: subject.into(), roles }
        }
        _ => {
            let role = policy.role(caller);
            let role = role.ok_or_else(|| format!("{caller} is no role of the policy"))?;
            return Ok(Some(role.set));
        }
    };
    Ok(Some(policy.roles_of(&identity)))
}

fn run_cases(policy: &Policy, test: &CasesArguments) -> Result<ExitCode, Failure> {
    let shown = test.cases.display();
    let text = match fs::read_to_string(&test.cases) {
        Ok(text) => text,
        Err(error) => return Ok(refuse(&[format!("{shown}: {error}")])),
    };
    let report = match policy.test(&text) {
        Ok(report) => report,
        Err(errors) => {
            let messages: Vec<String> = errors.iter().map(|it| at(&test.cases, it)).collect();
            return Ok(refuse(&messages));
        }
    };
    if test.every {
        print::line(policy.tables().trim_end());
    }
    for failure in &report.failures {
        print::error(&at(&test.cases, failure));
    }
    let undecided: &[_] = if test.every { &report.undecided } else { &[] };
    for (role, method) in undecided {
        print::error(&format!("{shown}: no case decides {method} for {role}"));
    }
    let (judged, failed) = (report.judged, report.failures.len());
    let open = undecided.len();
    print::line(&format!(
        "{judged} calls judged, {failed} otherwise than expected, {open} undecided"
    ));
    match (failed, open) {
        (0, 0) => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}
