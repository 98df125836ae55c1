//! The running service's checks of the schema: whether it has what the statements need, and how it
//! differs from what the migrations make.

use std::sync::{Arc, OnceLock};

use bookstore_entity::schema;
use bookstore_migration::{
    chain::Chain,
    check::{self, ReplayPolicy, Report},
    revision::Engine,
};
use bookstore_store::{Needs, Store};

use crate::{migrations::StoreOpener, rpc::health::Readiness};

/// The result of the check at the start. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drift(Arc<OnceLock<Report>>);

impl Drift {
    /// The report; none until the check has ended.
    pub fn report(&self) -> Option<&Report> {
        self.0.get()
    }

    /// Waits for the schema to have every revision, compares it once and logs each difference. The
    /// service creates nothing for that: on PostgreSQL it compares with the snapshot that is built
    /// into it.
    pub async fn examine(self, readiness: Readiness, store: Store, chain: Chain) {
        readiness.migrated().await;
        match compare(&store, &chain).await {
            Ok(report) => {
                for finding in &report.findings {
                    tracing::warn!(
                        kind = finding.kind,
                        object = finding.object,
                        level = finding.level.name(),
                        "the schema differs from the migrations: {}",
                        finding.to_line()
                    );
                }
                // A report that is there already is kept.
                let _ = self.0.set(report);
            }
            // The schema may be of another revision, or the database unreachable. `migrate check`
            // shows which.
            Err(error) => tracing::info!(%error, "the schema was not compared with the migrations"),
        }
    }
}

async fn compare(
    store: &Store,
    chain: &Chain,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let opener = StoreOpener(store.clone());
    let session = opener.open_for_inspection().await?;
    let scratch = opener.open_scratch_for(&session).await?;
    let report = check::check(&session, scratch.as_ref(), ReplayPolicy::Never, chain).await;
    session.close().await;
    Ok(report?)
}

/// What the program's statements name: every column of every entity, the keys of `ON CONFLICT`
/// and the functions.
pub fn needs(engine: Engine) -> Needs {
    let on = schema::On::from(engine);
    let mut needs = Needs::default();
    for table in schema::tables() {
        let name = table.name.clone();
        needs.columns.extend(
            table
                .columns
                .iter()
                .filter(|column| column.is_on(on))
                .map(|column| (name.clone(), column.name.clone())),
        );
        // Inserts with `ON CONFLICT` name the key.
        needs.keys.push((name.clone(), table.primary_key.join(", ")));
    }
    needs.keys.push(("carts".to_owned(), "user_id".to_owned()));
    // The tables of the word indexes have no entity.
    for object in schema::objects(on).into_iter().filter(|object| object.kind == "table") {
        let column = match object.name {
            "book_words" => "title",
            "book_word_keys" => "book_id",
            "user_words" => "full_name",
            _ => "user_id",
        };
        needs.columns.push((object.name.to_owned(), column.to_owned()));
    }
    let functions = schema::functions(on).into_iter();
    needs.functions = functions.map(|object| object.name.to_owned()).collect();
    needs
}
