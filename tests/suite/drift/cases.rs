//! The cases of `tests/fixtures/drift`: what `check` says of each.

use bookstore_tests::{Drift, Engine, drifts, on_every_engine};
use futures_util::{StreamExt, stream};

use super::{findings, migrated};

on_every_engine!(every_drift_case_gives_its_expected_findings);

/// The number of concurrent databases.
const AT_ONCE: usize = 4;

async fn every_drift_case_gives_its_expected_findings(engine: Engine) {
    let cases = drifts(engine);
    let equal = cases.iter().filter(|case| case.is_equal()).count();
    assert!(equal >= 25 && cases.len() - equal >= 80, "{} cases, {equal} equal", cases.len());
    let wrong: Vec<String> = stream::iter(cases)
        .map(|case| async move { judge(engine, &case).await })
        .buffer_unordered(AT_ONCE)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The problem with the output of `check`; `None` if it is right.
async fn judge(engine: Engine, case: &Drift) -> Option<String> {
    let database = migrated(engine).await;
    case.make(&database).await;
    let (code, list) = findings(&database.owner_url(), &[]).await;
    let shown = format!("{}: {:?}: {code:?} {list:#?}", case.verdict, case.names);
    if case.is_equal() {
        return (code != Some(0) || !list.is_empty()).then_some(shown);
    }
    let Some((level, kind)) = case.verdict.split_once(' ') else { return Some(shown) };
    let expected = if level == "error" { Some(1) } else { Some(0) };
    let text = format!("{list:?}");
    let errors = list.iter().filter(|finding| finding["level"] == "error").count();
    let shown = format!("{errors} errors, {} expected: {shown}", case.errors);
    let right = code == expected
        && errors == case.errors
        && list.first().is_some_and(|first| first["kind"] == kind && first["level"] == level)
        && case.names.iter().all(|name| text.contains(name));
    (!right).then_some(shown)
}
