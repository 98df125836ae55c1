//! The start with a policy, and a policy that is read again: whole or not at all.

use bookstore_tests::{AccessFiles, Engine, TestServer, on_every_engine, policy, run};

use super::{bearer, call, forbidden, start};
use crate::{bad_input::send, credentials::audited};

on_every_engine!(a_wrong_policy_leaves_the_old_one_in_force);

/// The exit code for wrong settings.
const REFUSED: i32 = 64;

fn for_members() -> String {
    policy(|_| "member".to_owned(), "")
}

/// What is wrong with a policy, and the line that is at fault: a text of it, or the first.
fn mistakes() -> Vec<(String, &'static str, String)> {
    let whole = for_members();
    let change = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    let get = "GetBook = \"member\"\n";
    [
        (change(get, ""), "[methods.BookService]", "[methods.BookService] has no line for GetBook"),
        (change(get, "GetBok = \"member\"\n"), "GetBok", "BookService has no method GetBok"),
        (change(get, "GetBook = \"membr\"\n"), "GetBook", "GetBook: membr is no role"),
        (change(get, "GetBook = \"member:own\"\n"), "GetBook", "no rules by row (:own)"),
        (
            change("[methods.CartService]", "[methods.CardService]"),
            "[methods.CardService]",
            "no CardService",
        ),
        (
            change("other = \"may not\"", "idle = \"x\"\nother = \"may not\""),
            "idle",
            "no caller has this role",
        ),
        (
            change("[tokens]", "[fields.User]\nsee.email = \"member\"\n[tokens]"),
            "[fields.User]",
            "this version has no [fields]",
        ),
        (change("[tokens]", "[limits]\n[tokens]"), "[limits]", "this version has no [limits]"),
        (change("[tokens]", "[audit]\n[tokens]"), "[audit]", "this version has no [audit]"),
        (
            format!("{whole}[methods.AccessService]\nWhoAmI = \"anyone\"\n"),
            "[methods.AccessService]",
            "this version has no AccessService",
        ),
        (change("version = 1", "version = 2"), "version", "this program reads version = 1"),
        (change("[tokens]", "[tokens"), "[tokens", ""),
    ]
    .map(|(text, at, message)| (text, at, message.to_owned()))
    .into()
}

/// A URL that is right, so that it is not the reason of a refusal.
fn database(files: &AccessFiles) -> String {
    format!("sqlite://{}?mode=rwc", files.path("books.db").display())
}

#[tokio::test]
async fn a_wrong_policy_ends_the_start_with_its_line() {
    for (text, at, message) in mistakes() {
        let files = AccessFiles::new(&text);
        let path = files.path("policy.toml").display().to_string();
        let line = 1 + text.lines().position(|line| line.starts_with(at)).expect(at);
        let place = format!("{path}:{line}: ");
        let url = database(&files);
        let environment = [
            ("POLICY_FILE", path.as_str()),
            ("DATABASE_URL", url.as_str()),
            ("LISTEN_ADDR", "127.0.0.1:0"),
        ];
        let ended = run(&["serve"], &environment).await;
        let names_it = |text: &str| {
            text.lines().any(|line| line.starts_with(&place) && line.contains(&message))
        };
        assert_eq!(ended.code, Some(REFUSED), "{message}: {ended:?}");
        assert!(names_it(&ended.errors), "{place}{message}\n{}", ended.errors);
        assert!(!ended.output.contains("LISTENING"), "{ended:?}");
        let checked = run(&["policy", "check", &path], &[]).await;
        assert_eq!(checked.code, Some(REFUSED), "{checked:?}");
        assert!(names_it(&checked.errors), "{place}{message}\n{}", checked.errors);
    }
}

#[tokio::test]
async fn settings_of_the_policy_that_do_not_fit_are_refused() {
    let files = AccessFiles::new(&for_members());
    let path = files.path("policy.toml").display().to_string();
    let missing = files.path("missing.toml").display().to_string();
    let url = database(&files);
    let policy = ("POLICY_FILE", path.as_str());
    for (environment, wanted) in [
        (
            vec![("POLICY_MODE", "report")],
            "policy_mode = \"report\" from the environment variable POLICY_MODE: must come with policy_file",
        ),
        (
            vec![policy, ("POLICY_MODE", "off")],
            "policy_mode = \"off\" from the environment variable POLICY_MODE: must be enforce or report",
        ),
        (
            vec![policy, ("LISTEN_ADDR", "0.0.0.0:0")],
            "listen_addr = \"0.0.0.0:0\" from the environment variable LISTEN_ADDR: other machines reach this address",
        ),
        (
            vec![policy, ("LISTEN_ADDR", "[::]:0")],
            "listen_addr = \"[::]:0\" from the environment variable LISTEN_ADDR: other machines reach this address",
        ),
        (vec![("POLICY_FILE", missing.as_str())], missing.as_str()),
    ] {
        let environment = [environment, vec![("DATABASE_URL", url.as_str())]].concat();
        let ended = run(&["serve"], &environment).await;
        assert_eq!(ended.code, Some(REFUSED), "{environment:?}: {ended:?}");
        assert!(ended.errors.contains(wanted), "{wanted}\n{}", ended.errors);
    }
}

#[tokio::test]
async fn plaintext_beyond_this_machine_is_allowed_by_name_and_open_ports_are_warned_about() {
    let warns = |line: &str| line.contains("every caller may call every method");
    let warned = |server: &TestServer| server.logs().so_far().iter().any(|line| warns(line));
    let files = AccessFiles::new(&for_members());
    let builder = files.apply(TestServer::builder(Engine::Sqlite)).listen("0.0.0.0:0");
    let server = builder.env("ALLOW_PLAINTEXT", "true").start().await;
    assert!(!warned(&server));
    let server = TestServer::builder(Engine::Sqlite).listen("0.0.0.0:0").start().await;
    server.logs().wait_for(warns).await;
    let server = TestServer::start(Engine::Sqlite).await;
    assert!(!warned(&server), "a port of this machine");
}

#[tokio::test]
async fn sections_without_their_setting_are_warned_about() {
    let certificates = "[certificates]\n\"dns:web.example\" = \"member\"\n";
    let files = AccessFiles::new(&policy(|_| "member".to_owned(), certificates));
    let unverified = |server: &TestServer, message: &str| {
        let lines = server.logs().so_far();
        lines.iter().filter(|line| line.contains(message) && line.contains("WARN")).count()
    };
    let (tokens, certificates) = (
        "[tokens] has no effect: the setting tokens_file is empty",
        "[certificates] has no effect: the setting tls_client_ca_file is empty",
    );
    for (path, warned) in [(None, 1), (Some("tokens"), 0)] {
        let path = path.map(|name| files.path(name).display().to_string()).unwrap_or_default();
        let builder = files.apply(TestServer::builder(Engine::Sqlite)).env("TOKENS_FILE", &path);
        let server = builder.start().await;
        server.logs().wait_for(|line| line.contains(certificates)).await;
        assert_eq!(unverified(&server, tokens), warned);
        assert_eq!(unverified(&server, certificates), 1);
    }
}

async fn a_wrong_policy_leaves_the_old_one_in_force(engine: Engine) {
    let files = AccessFiles::new(&for_members());
    let (ada, eve) = (files.token("ada"), files.token("eve"));
    let server = start(engine, &files).await;
    let list = "CategoryService/ListCategories";
    let judged = async || {
        let ada = forbidden(call(&server, list, &[], &ada).await).is_none();
        let eve = forbidden(call(&server, list, &[], &eve).await).is_none();
        (ada, eve)
    };
    assert_eq!(judged().await, (true, false));
    // It would let others call, but for its last line.
    let wrong = policy(|_| "other".to_owned(), "") + "[operators]\nsea = \"member\"\n";
    let line = wrong.lines().count();
    files.set_policy(&wrong);
    let wanted = format!("policy.toml:{line}: [operators] has no key sea, did you mean see?");
    server.logs().wait_for(|line| line.contains(&wanted)).await;
    assert_eq!(judged().await, (true, false));
    files.set_policy(&wrong.replace("sea", "see"));
    server.logs().wait_for(|line| line.contains("files have changed and are in force")).await;
    assert_eq!(judged().await, (false, true));
    assert_eq!(audited(&server, "files have changed and are in force").len(), 1);
    // Health has no line, and reflection has one.
    let health = "/grpc.health.v1.Health/Check";
    send(server.channel(), health, Vec::new(), &[]).await.expect("health is exempt");
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = send(server.channel(), &path, Vec::new(), &[]).await;
        assert_eq!(answer.expect_err(version).code(), tonic::Code::Unauthenticated);
        let header = bearer(&eve);
        let metadata = [("authorization", header.as_str())];
        if let Err(status) = send(server.channel(), &path, Vec::new(), &metadata).await {
            assert_ne!(status.code(), tonic::Code::PermissionDenied, "{status:?}");
            assert_ne!(status.code(), tonic::Code::Unauthenticated, "{status:?}");
        }
    }
}
