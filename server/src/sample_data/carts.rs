//! The carts of the sample data. CartService makes the ids of carts itself, so these are inserted
//! without it: their ids are the same in every database too.

use bookstore_entity::{cart, cart_item, user};
use bookstore_store::{Call, Connection, Store, StoreError, Write};
use futures_util::future::BoxFuture;
use sea_orm::{ActiveValue::Set, EntityTrait, sea_query::OnConflict};

use super::ids::{BOOK, CART, CART_ITEM, USER, uuid};

/// The user of each cart, and its books with their quantities.
pub(super) const CARTS: [(u128, &[(u128, i32)]); 3] =
    [(1, &[(3, 1), (14, 2)]), (2, &[(20, 1)]), (5, &[(7, 1), (8, 1), (9, 3)])];

/// Inserts the carts that don't exist, all or none.
pub(super) async fn load(store: &Store) -> Result<(), StoreError> {
    let call = Call::internal("sample-data");
    store.run(call, Box::new(InsertCarts)).await?;
    Ok(())
}

struct InsertCarts;

impl Write for InsertCarts {
    fn name(&self) -> &'static str {
        "InsertCarts"
    }

    fn apply<'a>(
        &'a self,
        connection: &'a Connection,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        Box::pin(async {
            for (n, (of, books)) in (1..).zip(CARTS) {
                insert(connection, n, of, books).await?;
            }
            Ok(Vec::new())
        })
    }
}

/// Inserts a cart and its items, unless the user is absent or has a cart.
async fn insert(
    connection: &Connection,
    n: u128,
    of: u128,
    books: &[(u128, i32)],
) -> Result<(), StoreError> {
    if user::Entity::find_by_id(uuid(USER, of)).one(connection).await?.is_none() {
        return Ok(());
    }
    let now = bookstore_store::now();
    let row = cart::ActiveModel {
        id: Set(uuid(CART, n)),
        user_id: Set(uuid(USER, of)),
        created_at: Set(now),
        updated_at: Set(now),
        version: Set(1),
    };
    let unless_there = OnConflict::new().do_nothing().to_owned();
    let inserted = cart::Entity::insert(row)
        .on_conflict(unless_there)
        .exec_without_returning(connection)
        .await?;
    if inserted == 0 {
        return Ok(());
    }
    for (line, (book, quantity)) in (1..).zip(books) {
        let item = cart_item::ActiveModel {
            id: Set(uuid(CART_ITEM, n * 0x100 + line)),
            cart_id: Set(uuid(CART, n)),
            book_id: Set(uuid(BOOK, *book)),
            quantity: Set(*quantity),
            created_at: Set(now),
            updated_at: Set(now),
            version: Set(1),
        };
        cart_item::Entity::insert(item).exec_without_returning(connection).await?;
    }
    Ok(())
}
