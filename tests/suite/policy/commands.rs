//! `bookstore policy`, with the examples that the documents point to.

use bookstore_tests::{AccessFiles, Finished, policy, run};

use crate::tidy;

fn example(name: &str) -> String {
    tidy::root().join("deploy").join(name).display().to_string()
}

async fn on_example(arguments: &[&str]) -> Finished {
    let policy = example("policy.example.toml");
    run(&[&["policy"], arguments].concat(), &[("POLICY_FILE", policy.as_str())]).await
}

#[tokio::test]
async fn the_example_is_a_whole_policy() {
    let policy = example("policy.example.toml");
    // No file but the policy is read.
    let settings = [
        ("POLICY_FILE", policy.as_str()),
        ("TOKENS_FILE", "tokens"),
        ("TLS_CERT_FILE", "server.crt"),
        ("TLS_KEY_FILE", "server.key"),
        ("TLS_CLIENT_CA_FILE", "clients-ca.crt"),
    ];
    let checked = run(&["policy", "check"], &settings).await;
    assert_eq!((checked.code, checked.errors.as_str()), (Some(0), ""), "{checked:?}");
    assert!(checked.output.ends_with("methods, 6 roles\n"), "{checked:?}");
    for (settings, named) in [(&settings[..1], [true, true]), (&settings[..2], [false, true])] {
        let checked = run(&["policy", "check"], settings).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let warned = [("[tokens]", "tokens_file"), ("[certificates]", "tls_client_ca_file")];
        let warned = warned.map(|(section, setting)| {
            let end = format!(": {section} has no effect: the setting {setting} is empty");
            let start = format!("warning: {policy}:");
            checked.errors.lines().any(|line| line.starts_with(&start) && line.ends_with(&end))
        });
        assert_eq!(warned, named, "{checked:?}");
    }
    let by_name = run(&["policy", "check", &policy], &[]).await;
    assert_eq!(by_name.errors, "", "without settings of a service nothing is known of it");
    assert_eq!(by_name.output, checked.output);
    let nothing = run(&["policy", "check"], &[]).await;
    assert_eq!(nothing.code, Some(64));
    assert!(nothing.errors.contains("the setting policy_file is empty"), "{nothing:?}");
}

/// compose.yml and the manifests serve with this policy, with static tokens alone.
#[tokio::test]
async fn the_policy_of_the_manifests_is_whole() {
    let policy = example("kubernetes/policy.toml");
    let settings = [("POLICY_FILE", policy.as_str()), ("TOKENS_FILE", "tokens")];
    let checked = run(&["policy", "check"], &settings).await;
    assert_eq!((checked.code, checked.errors.as_str()), (Some(0), ""), "{checked:?}");
    let deploy = example("kubernetes/deployment.yaml");
    let manifest = std::fs::read_to_string(deploy).expect("the manifest");
    for setting in ["POLICY_FILE", "TOKENS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"] {
        assert!(manifest.contains(&format!("{{name: {setting}, value: ")), "{setting}");
    }
}

#[tokio::test]
async fn show_prints_roles_by_methods() {
    let shown = on_example(&["show"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let row = |name: &str| {
        let line = shown.output.lines().find(|line| line.starts_with(&format!("| {name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {}", shown.output));
        line.split('|').map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>()[1..]
            .join(" ")
    };
    assert_eq!(
        row("method"),
        "no credentials no role storefront clerk catalogue login auditor admin"
    );
    assert_eq!(row("BookService/GetBook"), "yes yes yes yes yes yes yes yes");
    assert_eq!(row("BookService/UpdateBook"), "- - - yes yes - - yes");
    assert_eq!(row("UserService/VerifyPassword"), "- - - - - yes - -");
    assert_eq!(row("grpc.reflection/ServerReflectionInfo"), "- yes yes yes yes yes yes yes");
    assert_eq!(row("operators: change"), "- - - - - - - yes");
    assert_eq!(row("token:catalogue-feed"), "catalogue");
    assert_eq!(row("jwt:cluster#system:serviceaccount:shop:web"), "storefront");
}

#[tokio::test]
async fn explain_says_who_may_and_by_which_line() {
    for (caller, method, code) in [
        ("clerk", "BookService/UpdateBook", 0),
        ("clerk", "bookstore.v1.BookService/UpdateBook", 0),
        ("clerk", "BookService/DeleteBook", 1),
        ("anyone", "BookService/GetBook", 0),
        ("anyone", "CategoryService/GetCategoryStats", 1),
        ("everyone", "CategoryService/GetCategoryStats", 0),
        ("token:catalogue-feed", "BookService/BatchCreateBooks", 0),
        ("token:unknown", "BookService/CreateBook", 1),
        ("cert:spiffe://example.org/ns/shop/sa/login", "UserService/VerifyPassword", 0),
        ("jwt:cluster#system:serviceaccount:shop:web", "OrderService/PlaceOrder", 0),
        ("jwt:cluster#system:serviceaccount:shop:other", "OrderService/PlaceOrder", 1),
        ("boss", "BookService/GetBook", 64),
        ("clerk", "BookService/GetBok", 64),
        ("jwt:other#x", "BookService/GetBook", 64),
    ] {
        let explained = on_example(&["explain", "--as", caller, method]).await;
        assert_eq!(explained.code, Some(code), "{caller} {method}: {explained:?}");
    }
    let explained = on_example(&["explain", "--as", "clerk", "BookService/DeleteBook"]).await;
    let policy = example("policy.example.toml");
    let wanted = format!(
        "clerk may not call BookService/DeleteBook\n  clerk has the roles: clerk\n  \
         {policy} says BookService/DeleteBook = \"catalogue admin\"\n"
    );
    assert_eq!(explained.output, wanted);
    let explained = on_example(&["explain", "--as", "clerk", "BookService/BatchGetBooks"]).await;
    let entries = "  each entry needs BookService/GetBook = \"anyone\"\n";
    assert!(explained.output.ends_with(entries), "{explained:?}");
}

#[tokio::test]
async fn cases_are_run_and_told() {
    let cases = example("policy_test.example.toml");
    let passed = on_example(&["test", &cases]).await;
    assert_eq!(passed.code, Some(0), "{passed:?}");
    assert!(passed.output.contains(" calls judged, 0 otherwise than expected"), "{passed:?}");
    let every = on_example(&["test", &cases, "--every"]).await;
    assert_eq!(every.code, Some(1), "{every:?}");
    assert!(every.errors.contains("no case decides BookService/CreateBook for clerk"), "{every:?}");
    assert!(every.output.starts_with("| method "), "{every:?}");

    let files = AccessFiles::new(&policy(|_| "member".to_owned(), ""));
    let [path, cases] =
        ["policy.toml", "cases.toml"].map(|it| files.path(it).display().to_string());
    let case = |who: &str, expect: &str| {
        format!("[[case]]\nwho = \"{who}\"\ncall = \"*\"\nexpect = \"{expect}\"\n")
    };
    let people = "[people]\nada = { token = \"ada\" }\neve = { role = \"other\" }\n";
    let reflection = "[[case]]\nwho = \"eve\"\ncall = \"grpc.reflection/*\"\nexpect = \"all\"\n";
    let whole = format!("{people}{}{reflection}", case("ada", "all"));
    let services = "[[case]]\nwho = \"eve\"\nexpect = \"METHOD_FORBIDDEN\"\ncall = [";
    let names: Vec<String> =
        bookstore_tests::methods().iter().map(|name| format!("\"{name}\"")).collect();
    files.replace("cases.toml", &format!("{whole}{services}{}]\n", names.join(", ")));
    let arguments = ["policy", "test", "--every", cases.as_str()];
    let environment = [("POLICY_FILE", path.as_str())];
    let every = run(&arguments, &environment).await;
    assert_eq!(every.code, Some(0), "{every:?}");
    assert!(every.output.contains("0 otherwise than expected, 0 undecided"), "{every:?}");

    files.replace("cases.toml", &format!("{people}{}", case("eve", "all")));
    let failed = run(
        &arguments[..2].iter().copied().chain([cases.as_str()]).collect::<Vec<_>>(),
        &environment,
    )
    .await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let wanted =
        format!("{cases}:6: eve BookService/GetBook: expected all, found METHOD_FORBIDDEN\n");
    assert!(failed.errors.contains(&wanted), "{failed:?}");
    files.replace("cases.toml", "[people]\nada = { role = \"boss\" }\n");
    let refused = run(&["policy", "test", &cases], &environment).await;
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.errors.contains(&format!("{cases}:2: boss is no role")), "{refused:?}");
}
