//! The schema as the running service sees it: what its statements need, and how it differs from
//! what the migrations make.

use std::sync::{Arc, OnceLock};

use bookstore_entity::schema;
use bookstore_migration::check::{self, Replay, Report};
use bookstore_store::{Needs, Store};

/// What the check at the start came to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drift(Arc<OnceLock<Report>>);

impl Drift {
    /// What the check said; none before it has ended.
    pub fn report(&self) -> Option<&Report> {
        self.0.get()
    }

    /// Compares the schema once and logs each difference. The service creates nothing for that:
    /// on PostgreSQL it compares with the snapshot that it carries.
    pub async fn look(&self, store: &Store) {
        match compare(store).await {
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
                // The first report stands.
                let _ = self.0.set(report);
            }
            // The schema may be another revision's, or the database away: `migrate check` says.
            Err(error) => tracing::info!(%error, "the schema was not compared with the migrations"),
        }
    }
}

async fn compare(store: &Store) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let session = store.inspection_session().await?;
    let scratch = store.memory_session().await?;
    Ok(check::check(&session, Some(&scratch), Replay::Never).await?)
}

/// What the program's statements name: every column of every entity, the keys of `ON CONFLICT`
/// and the functions.
pub fn needs() -> Needs {
    let mut needs = Needs::default();
    for table in schema::tables() {
        let name = table.name.clone();
        needs.columns.extend(
            table.columns.iter().filter(|column| column.on.is_none()).map(|column| {
                (name.clone(), column.name.clone())
            }),
        );
        // Every insert that may find its row there names the key.
        needs.keys.push((name.clone(), table.primary_key.join(", ")));
    }
    needs.keys.push(("carts".to_owned(), "user_id".to_owned()));
    let functions = schema::functions(schema::On::Postgres);
    needs.functions = functions.into_iter().map(|object| object.name.to_owned()).collect();
    needs
}
