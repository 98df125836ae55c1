//! Hashes that are weaker than the settings want are made anew once their password is known: at
//! the next right one.

use std::sync::OnceLock;

use bookstore_entity::user::{Column, Entity};
use bookstore_store::{Call, Connection, Store, StoreError, Write};
use futures_util::future::BoxFuture;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::security::password::Password;

/// Hashes that wait to be made anew. Those beyond are left to the next right password.
const WAITING: usize = 16;

/// A hash to be made anew.
pub(super) struct Renewal {
    pub(super) id: Uuid,
    /// The hash as it is; another one meanwhile is left alone.
    pub(super) weak: String,
    pub(super) password: Password,
}

static QUEUE: OnceLock<mpsc::Sender<Renewal>> = OnceLock::new();

/// Queues the renewal of a hash, if the renewing task runs and its queue has room.
pub(super) fn ask(renewal: Renewal) {
    if let Some(queue) = QUEUE.get() {
        let _ = queue.try_send(renewal);
    }
}

/// Makes weak hashes anew for as long as it is polled, one after the other.
pub async fn renew(store: Store) {
    let (queue, mut asked) = mpsc::channel(WAITING);
    if QUEUE.set(queue).is_err() {
        return;
    }
    while let Some(Renewal { id, weak, password }) = asked.recv().await {
        let hash = match password.hash().await {
            Ok(hash) => hash,
            Err(error) => {
                tracing::debug!(%error, "a weak hash stays until the next right password");
                continue;
            }
        };
        let call = Call::internal("RenewHash");
        match store.run(call, Box::new(RenewHash { id, weak, hash })).await {
            Ok(_) => tracing::info!(user_id = %id, "a weak hash of a password was made anew"),
            Err(error) => tracing::debug!(%error, "a weak hash stays"),
        }
    }
}

/// Puts a hash in the place of a weaker one. The user's version stays: nothing has changed that a
/// caller can see.
struct RenewHash {
    id: Uuid,
    weak: String,
    hash: String,
}

impl Write for RenewHash {
    fn name(&self) -> &'static str {
        "RenewHash"
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async {
            let update = Entity::update_many()
                .col_expr(Column::PasswordHash, Expr::val(self.hash.as_str()))
                .filter(Column::Id.eq(self.id))
                .filter(Column::PasswordHash.eq(self.weak.as_str()));
            update.exec(connection).await?;
            Ok(Vec::new())
        })
    }
}
