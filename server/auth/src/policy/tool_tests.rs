//! What the tools for a policy's author make of it: tables, suggestions and cases.

use super::*;
use crate::identity::{Identity, Principal, RoleSet};

const PATHS: [&str; 3] = ["/p.Book/Get", "/p.Book/Make", "/p.Cart/Clear"];

/// Methods without entries.
fn all() -> Vec<PolicyMethod> {
    PATHS.iter().map(|path| PolicyMethod::at(path)).collect()
}

const TEXT: &str = r#"version = 1

[roles]
reader = "reads" # kept
writer = "writes"

[tokens]
feed = "writer"
web = "reader"
both = "reader writer"

[methods.Book]
Get  = "anyone"
Make = "writer"

[methods.Cart]
Clear = "reader"

[operators]
see = "writer"
"#;

fn policy() -> Policy {
    Policy::parse(TEXT, &all()).unwrap()
}

fn token(name: &str) -> Principal {
    let identity = Identity::Token { name: name.into() };
    Principal { name: format!("token:{name}").into(), identity, expires: None, peer: None }
}

#[test]
fn the_tables_show_who_may_do_what_and_by_what() {
    let wanted = "\
| method              | no credentials | no role | reader | writer |
|---------------------|----------------|---------|--------|--------|
| Book/Get            | yes            | yes     | yes    | yes    |
| Book/Make           | -              | -       | -      | yes    |
| Cart/Clear          | -              | -       | yes    | -      |
| operators: see      | -              | -       | -      | yes    |
| operators: change   | -              | -       | -      | -      |
| operators: diagnose | -              | -       | -      | -      |

| caller     | roles         |
|------------|---------------|
| token:both | reader writer |
| token:feed | writer        |
| token:web  | reader        |
";
    assert_eq!(policy().tables(), wanted);
}

#[test]
fn a_suggestion_allows_what_was_seen_and_no_more() {
    let (policy, seen) = (policy(), SeenCalls::default());
    let calls: [(Option<&str>, &str); 7] = [
        (Some("web"), PATHS[0]),
        (Some("feed"), PATHS[0]),
        (Some("feed"), PATHS[1]),
        (Some("feed"), PATHS[1]),
        (Some("both"), PATHS[1]),
        (Some("stranger"), PATHS[1]),
        (None, "no path"),
    ];
    for (name, path) in calls {
        seen.note(&policy, name.map(token).as_ref(), path);
    }
    let text = policy.suggestion(TEXT, &seen.list());
    let suggested = Policy::parse(&text, &all()).unwrap();
    let rule = |method: &str| {
        let name = MethodName::of_path(method).unwrap();
        suggested.rule(&name).unwrap().text(suggested.roles())
    };
    assert_eq!(rule(PATHS[0]), "reader writer");
    assert_eq!(rule(PATHS[1]), "writer", "who has both passes as a writer");
    assert_eq!(rule(PATHS[2]), "nobody");
    assert!(text.contains("reader = \"reads\" # kept\n"), "{text}");
    assert!(text.contains("# seen: token:stranger has no role; calls: 1\nMake ="), "{text}");
    assert!(text.contains("Clear = \"nobody\" # calls: 0\n"), "{text}");
    assert_eq!(suggested.operators(), policy.operators());

    seen.note(&policy, None, PATHS[2]);
    seen.note(&policy, Some(&token("both")), PATHS[2]);
    let text = policy.suggestion(TEXT, &seen.list());
    assert!(text.contains("Clear = \"anyone\" # calls: 2\n"), "{text}");
}

#[test]
fn a_caller_with_several_roles_leaves_a_choice_that_is_told() {
    let (policy, seen) = (policy(), SeenCalls::default());
    seen.note(&policy, Some(&token("both")), PATHS[1]);
    let text = policy.suggestion(TEXT, &seen.list());
    let wanted =
        "# seen: one role may do: callers had all of reader writer\nMake = \"reader writer\"";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn subjects_of_an_issuer_are_counted_together() {
    let (policy, seen) = (policy(), SeenCalls::default());
    for subject in ["ada", "bob"] {
        let identity = Identity::Jwt {
            issuer: "shop".into(),
            subject: subject.into(),
            roles: std::sync::Arc::from([]),
        };
        let name = format!("jwt:shop#{subject}").into();
        seen.note(
            &policy,
            Some(&Principal { name, identity, expires: None, peer: None }),
            PATHS[0],
        );
    }
    let list = seen.list();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!((&list[0].caller, list[0].count), (&SeenCaller::NoRole("jwt:shop".to_owned()), 2));
}

const CASES: &str = r#"
[people]
ada = { role = "reader", user = "01930000-0000-7000-8000-000000030000" }
fred = { token = "feed" }

[[case]]
who = ["ada", "fred", "anyone", "everyone"]
call = "Book/Get"
expect = "all"

[[case]]
who = "ada"
call = ["Book/Make"]
expect = "METHOD_FORBIDDEN"

[[case]]
who = "anyone"
call = "Cart/*"
expect = "CREDENTIALS_MISSING"
"#;

#[test]
fn cases_pass_and_undecided_pairs_are_listed() {
    let report = policy().test(CASES).unwrap();
    assert_eq!(report.judged, 6);
    assert_eq!(report.failures, []);
    let undecided: Vec<String> =
        report.undecided.iter().map(|(role, method)| format!("{role} {method}")).collect();
    assert_eq!(undecided, ["reader Cart/Clear", "writer Book/Make", "writer Cart/Clear"]);
    let all = format!("{CASES}[[case]]\nwho = \"fred\"\ncall = \"Book/Make\"\nexpect = \"all\"\n");
    let all = format!("{all}[[case]]\nwho = \"fred\"\ncall = \"Cart/Clear\"\nexpect = \"none\"\n");
    let all = format!("{all}[[case]]\nwho = \"ada\"\ncall = \"Cart/Clear\"\nexpect = \"all\"\n");
    let report = policy().test(&all).unwrap();
    assert_eq!((report.failures, report.undecided), (vec![], vec![]));
}

#[test]
fn a_case_that_is_decided_otherwise_is_told_with_its_line() {
    let failed = |from: &str, to: &str| {
        let report = policy().test(&CASES.replace(from, to)).unwrap();
        report.failures.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        failed("\"METHOD_FORBIDDEN\"", "\"all\""),
        ["line 13: ada Book/Make: expected all, found METHOD_FORBIDDEN"]
    );
    assert_eq!(
        failed("\"METHOD_FORBIDDEN\"", "\"CREDENTIALS_MISSING\""),
        ["line 13: ada Book/Make: expected CREDENTIALS_MISSING, found METHOD_FORBIDDEN"]
    );
    assert_eq!(failed("expect = \"all\"", "expect = \"none\"").len(), 4, "each caller is told");
}

#[test]
fn mistakes_in_cases_are_told_with_their_lines() {
    for (from, to, wanted) in [
        ("who = \"ada\"", "who = \"ad\"", "line 12: ad is none of [people], did you mean ada?"),
        ("\"Cart/*\"", "\"Cart/Fill\"", "line 18: no method of the policy is Cart/Fill"),
        ("\"CREDENTIALS_MISSING\"", "\"own\"", "line 19: own: this version has no rules by row"),
        ("\"CREDENTIALS_MISSING\"", "\"some\"", "line 19: expect must be one of all, none"),
        ("role = \"reader\"", "role = \"boss\"", "line 3: boss is no role of [roles]"),
        ("role = \"reader\"", "token = \"a\", role = \"reader\"", "line 3: a person has one of"),
        ("role = \"reader\"", "rule = \"reader\"", "line 3: a person has no key rule"),
        ("ada = {", "anyone = {}\nada = {", "line 3: a person has one of role"),
        ("call = \"Cart/*\"", "call = \"Cart/*\"\nrequest = {}", "line 19: request: this version"),
        ("who = \"anyone\"", "", "line 16: a case has who, call and expect"),
        ("[people]", "[peple]", "line 2: the file has no key peple, did you mean people?"),
    ] {
        let text = CASES.replace(from, to);
        let errors = policy().test(&text).unwrap_err();
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|error| error.starts_with(wanted)), "{wanted}\n{found:#?}");
    }
}

/// A check of the bound on memory: callers choose what is counted.
#[test]
fn counted_calls_are_bounded() {
    let (policy, seen) = (policy(), SeenCalls::default());
    for at in 0..10_050 {
        seen.note(&policy, Some(&token(&format!("t{at}"))), PATHS[0]);
    }
    seen.note(&policy, Some(&token("t0")), PATHS[0]);
    let list = seen.list();
    assert_eq!(list.len(), 10_000);
    let first = list.iter().find(|call| call.caller == SeenCaller::NoRole("token:t0".to_owned()));
    assert_eq!(first.map(|call| call.count), Some(2));
    assert_eq!(policy.roles_of(&token("t0").identity), RoleSet::default());
}

/// A method for many that wants the line of the method for one.
const BATCH: PolicyMethod =
    PolicyMethod { path: "/p.Book/BatchMake", entries: Some("/p.Book/Make") };

/// The policy of a batch with this rule.
fn with_batch(rule: &str) -> Policy {
    let mut methods = all();
    methods.push(BATCH);
    Policy::parse(&text_with_batch(rule), &methods).unwrap()
}

fn text_with_batch(rule: &str) -> String {
    TEXT.replace("Make = \"writer\"", &format!("Make = \"writer\"\nBatchMake = {rule:?}"))
}

#[test]
fn a_batch_needs_the_line_of_its_entries_as_well() {
    let judge = |rule: &str, name: Option<&str>| {
        with_batch(rule).judge(name.map(token).as_ref(), BATCH.path)
    };
    assert_eq!(judge("writer reader", Some("feed")), Verdict::Allowed);
    assert_eq!(judge("writer reader", Some("web")), Verdict::EntriesForbidden);
    assert_eq!(judge("writer", Some("web")), Verdict::Forbidden);
    assert_eq!(judge("everyone", Some("stranger")), Verdict::EntriesForbidden);
    assert_eq!(judge("anyone", None), Verdict::CredentialsMissing);
    assert_eq!(judge("reader", Some("both")), Verdict::Allowed, "each line by another role");
    assert!(
        with_batch("anyone")
            .tables()
            .contains("| Book/BatchMake      | -              | -       | -      | yes    |")
    );
}

#[test]
fn a_batch_that_allows_more_than_its_entries_is_warned_about() {
    let warnings = |rule: &str| {
        let policy = with_batch(rule);
        policy.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = |who: &str| {
        vec![format!("line 15: BatchMake allows {who}, but Make doesn't, which judges each entry")]
    };
    assert_eq!(warnings("writer"), [""; 0]);
    assert_eq!(warnings("nobody"), [""; 0]);
    assert_eq!(warnings("writer reader"), told("reader"));
    assert_eq!(warnings("everyone"), told("everyone"));
    assert_eq!(warnings("anyone"), told("anyone"));
}

#[test]
fn a_suggestion_allows_the_entries_of_what_was_seen() {
    let (policy, seen) = (with_batch("nobody"), SeenCalls::default());
    seen.note(&policy, Some(&token("web")), BATCH.path);
    let text = policy.suggestion(&text_with_batch("nobody"), &seen.list());
    assert!(text.contains("BatchMake = \"reader\" # calls: 1\n\n"), "{text}");
    assert!(text.contains("\nMake = \"reader\" # calls: 1\n"), "{text}");
}

#[test]
fn a_suggestion_keeps_what_the_author_wrote() {
    let own = TEXT
        .replace("[methods.Book]", "# What sells.\n[methods.Book] # books")
        .replace("Make = \"writer\"", "  # Asked for by the feed.\n  Make = \"writer\" # see above")
        .replace("[methods.Cart]\nClear = \"reader\"", "[methods]\nCart = { Clear = \"reader\" }")
        .replace("[operators]", "# For the desk.\n[operators]");
    let (policy, seen) = (Policy::parse(&own, &all()).unwrap(), SeenCalls::default());
    for name in ["feed", "stranger"] {
        seen.note(&policy, Some(&token(name)), PATHS[1]);
    }
    seen.note(&policy, Some(&token("stranger")), PATHS[2]);
    seen.note(&policy, None, "/p.Book/Gone");
    let wanted = own
        .replace("Get  = \"anyone\"", "Get  = \"nobody\" # calls: 0")
        .replace(
            "  Make = \"writer\" #",
            "# seen: token:stranger has no role; calls: 1\n  Make = \"writer\" # calls: 2 #",
        )
        .replace("Clear = \"reader\"", "Clear = \"nobody\"");
    let first = "# seen: Book/Gone is no method of this program; calls: 1\n";
    let text = policy.suggestion(&own, &seen.list());
    assert_eq!(text, first.to_owned() + &wanted);
    // A suggestion from a suggestion has its comments once.
    let again = Policy::parse(&text, &all()).unwrap();
    assert_eq!(again.suggestion(&text, &seen.list()), text);
}

#[test]
fn sections_without_their_setting_are_named() {
    let text =
        TEXT.replace("[methods.Book]", "[certificates]\n\"dns:web\" = \"reader\"\n[methods.Book]");
    let policy = Policy::parse(&text, &all()).unwrap();
    let unverified = |tokens, certificates| {
        let verified = VerifiedCredentials { tokens, certificates };
        policy.unverified(verified).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let tokens = "line 7: [tokens] has no effect: the setting tokens_file is empty";
    let certificates =
        "line 12: [certificates] has no effect: the setting tls_client_ca_file is empty";
    assert_eq!(unverified(false, false), [tokens, certificates]);
    assert_eq!(unverified(true, false), [certificates]);
    assert_eq!(unverified(false, true), [tokens]);
    assert_eq!(unverified(true, true), [""; 0]);
}
