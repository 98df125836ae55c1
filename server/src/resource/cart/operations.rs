//! What happens to carts: reads over checked values.

use bookstore_entity::{
    cart::{Column, Entity, Model},
    cart_item, user,
};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::{
    resource::user::User,
    store::{Connection, Resource, StoreError, children::children, list::PAGE_BYTES, queries},
};

queries! {
    /// Reads a user's cart; none if nothing was ever put into it.
    GetCart(Uuid) -> Option<(Model, Vec<Item>)> = get;
}

/// A book in a cart.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Item {
    /// The book.
    pub book_id: Uuid,
    /// How many copies.
    pub quantity: i32,
    /// When it was put in.
    pub created_at: DateTime<Utc>,
}

const ITEM: [cart_item::Column; 3] =
    [cart_item::Column::BookId, cart_item::Column::Quantity, cart_item::Column::CreatedAt];

async fn get(
    connection: &Connection,
    user_id: &Uuid,
) -> Result<Option<(Model, Vec<Item>)>, StoreError> {
    let cart = Entity::find().filter(Column::UserId.eq(*user_id)).one(connection).await?;
    let Some(cart) = cart else {
        user_exists(connection, *user_id).await?;
        return Ok(None);
    };
    // After the cart: if it changes in between, its etag is the old one and so refused later.
    let (parent, ids) = (cart_item::Column::CartId, [cart.id]);
    let items = children::<cart_item::Entity, _>(connection, parent, &ITEM, &ids, PAGE_BYTES);
    let items = items.await?.pop().unwrap_or_default();
    Ok(Some((cart, items)))
}

async fn user_exists(connection: &Connection, id: Uuid) -> Result<(), StoreError> {
    let user = user::Entity::find_by_id(id).select_only().column(user::Column::Id);
    match user.into_tuple::<Uuid>().one(connection).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::NotFound { resource: User::NAME, id, field: "user_id".into() }),
    }
}
