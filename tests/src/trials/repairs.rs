//! Drift mended by what `migrate new --from-drift` writes: each revision goes up, leaves `check`
//! silent, goes down and leaves the schema as it had drifted. At a scale that takes in every case,
//! all the written files are compiled too, in a copy of the workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bookstore_migration::{
    catalog::Catalog,
    drift::{DifferenceKind, compare},
    session::MigrationSession,
};
use futures_util::{StreamExt, stream};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;

use super::checklist::{cargo, share_dependencies, synchronize};
use crate::{
    Database, Drift, Engine, Finished, Origin, REVISIONS, drifts, known_revisions, program, run,
    written,
};

/// How many databases are mended at a time.
const AT_ONCE: usize = 3;

/// Where the released revisions are listed, in a folder of revisions of the trial's own.
const LIST: &str = "//! Revisions.\n\nmod HEAD;\n\nvec![\n        HEAD::revision(),\n    ]\n";

/// Mends this many drifts on each engine, taken from the whole of the list.
pub(super) async fn repairs(most: u32) {
    let most = usize::try_from(most).expect("a small number");
    let (mut files, mut is_whole) = (Vec::new(), true);
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut cases = drifts(engine);
        cases.retain(|case| !case.is_equal());
        is_whole &= most >= cases.len();
        let step = cases.len().div_ceil(most).max(1);
        let cases = cases.into_iter().step_by(step);
        let mended: Vec<Option<PathBuf>> = stream::iter(cases)
            .map(|case| mend(engine, case))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let tried = mended.len();
        let own: Vec<PathBuf> = mended.into_iter().flatten().collect();
        assert!(own.len() * 2 > tried, "{} of {tried} drifts were mended", own.len());
        files.extend(own);
    }
    if is_whole {
        compile(&files);
    }
    for file in files {
        fs::remove_dir_all(file.parent().expect("its folder")).expect("the folder goes");
    }
}

/// A database at head, and who may do all with it.
async fn head(engine: Engine) -> (Database, String) {
    let database = Database::create(engine, Origin::Migrated).await;
    // Only a superuser may make some of the drifts again.
    let url = match &database {
        Database::Postgres(postgres) => {
            // A sequence has the owner of its table.
            database.sql("REASSIGN OWNED BY bookstore_owner TO postgres").await;
            postgres.url("postgres")
        }
        Database::Sqlite(_) => {
            let up = run(&["migrate", "up"], &[("DATABASE_URL", &database.owner_url())]).await;
            assert_eq!(up.code, Some(0), "{up:?}");
            database.owner_url()
        }
    };
    (database, url)
}

/// Mends a drift if all of it can be mended; answers the file that was written.
async fn mend(engine: Engine, case: Drift) -> Option<PathBuf> {
    let what = format!("{engine:?} {}: {} {}", case.number, case.verdict, case.names.join(" "));
    let (database, url) = head(engine).await;
    case.make(&database).await;
    let (_, findings) = check(&url, None).await;
    if findings.iter().any(|finding| finding["repair"] != "yes") {
        return None;
    }
    let drifted = catalog(&database).await;
    let folder = TempDir::new().expect("a folder");
    let newest = known_revisions().pop().expect("a head");
    let list = LIST.replace("HEAD", &newest);
    fs::write(folder.path().join("mod.rs"), list).expect("a list of revisions");
    let message = format!("mend {engine:?} {}", case.number);
    let path = folder.path().to_str().expect("a path");
    let arguments = ["migrate", "new", "--from-drift", "--json", "-m", &message, "--folder", path];
    let new = run(&arguments, &[("DATABASE_URL", &url)]).await;
    assert_eq!(new.code, Some(0), "{what}: {new:?}");
    let printed: Value = serde_json::from_str(&new.output).expect("JSON");
    let file = PathBuf::from(printed["file"].as_str().expect("the file"));
    let text = fs::read_to_string(&file).expect("the revision");

    let own = folder.path().join("revisions.json");
    fs::write(&own, json!({"revisions": [written(&text)]}).to_string()).expect("the revisions");
    let migrate = async |arguments: &[&str]| -> Finished {
        let own = own.to_str().expect("a path");
        let arguments = [&["migrate"], arguments].concat();
        run(&arguments, &[("DATABASE_URL", &url), (REVISIONS, own)]).await
    };
    let up = migrate(&["up"]).await;
    assert_eq!(up.code, Some(0), "{what}: {up:?}\n{text}");
    let (code, left) = check(&url, Some(&own)).await;
    assert!(left.iter().all(|finding| finding["level"] == "note"), "{what}: {left:#?}\n{text}");
    assert_eq!(code, Some(0), "{what}");
    let down = migrate(&["down", "--yes", "--allow-data-loss"]).await;
    assert_eq!(down.code, Some(0), "{what}: {down:?}\n{text}");
    let reverted = catalog(&database).await;
    let mut comparison = compare(&drifted, &reverted);
    // No step changes the order of columns, and none leaves an index invalid again.
    comparison.differences.retain(|one| {
        let is_built = one.facets.iter().all(|facet| facet.ends_with("validity"));
        one.change != DifferenceKind::Order && !(one.change == DifferenceKind::Changed && is_built)
    });
    let findings = comparison.findings();
    assert!(findings.is_empty(), "{what}: {findings:#?}\n{text}");
    let kept = folder.keep().join(file.file_name().expect("a name"));
    Some(kept)
}

/// The findings of a check, by a program with more revisions than the released ones.
async fn check(url: &str, revisions: Option<&Path>) -> (Option<i32>, Vec<Value>) {
    let mut settings = vec![("DATABASE_URL", url)];
    settings.extend(revisions.map(|file| (REVISIONS, file.to_str().expect("a path"))));
    let finished = run(&["migrate", "check", "--json"], &settings).await;
    let list = serde_json::from_str(&finished.output);
    (finished.code, list.unwrap_or_else(|error| panic!("{error}: {finished:?}")))
}

/// The schema of a database.
async fn catalog(database: &Database) -> Catalog {
    let session = match database {
        Database::Postgres(postgres) => {
            let connection = PgConnection::connect(&postgres.url("postgres")).await;
            let session = MigrationSession::postgres(connection.expect("a connection"));
            session.execute_unprepared("BEGIN").await.expect("a transaction");
            session
        }
        Database::Sqlite(_) => {
            let connection = SqliteConnection::connect(&database.owner_url()).await;
            MigrationSession::sqlite(connection.expect("a connection"))
        }
    };
    let catalog = Catalog::read(&session).await.expect("a catalog");
    session.close().await;
    catalog
}

/// Compiles the files, all of them in one copy of the workspace.
fn compile(files: &[PathBuf]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let built = program().parent().expect("the folder of what cargo builds").to_owned();
    let copy = built.join("repairs/workspace");
    let target = built.join("repairs/target");
    synchronize(root, &copy);
    share_dependencies(&built, &target.join("debug"));
    let revisions = copy.join("migration/src/revisions");
    let list = revisions.join("mod.rs");
    let mut text = fs::read_to_string(&list).expect("the list of revisions");
    for file in files {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        fs::copy(file, revisions.join(format!("{name}.rs"))).expect("a copy");
        let first = text.find("\nmod m").expect("a revision") + 1;
        text.insert_str(first, &format!("mod {name};\n"));
        let entry = text.rfind("::revision(),").expect("an entry") + "::revision(),".len();
        text.insert_str(entry, &format!("\n        {name}::revision(),"));
    }
    fs::write(&list, text).expect("the list of revisions");
    cargo(&copy, &target, &["build", "--offline", "-p", "bookstore-migration"], &[]);
}
