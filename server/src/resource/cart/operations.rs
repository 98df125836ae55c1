//! The reads and writes of carts, with checked values. Every change of a cart locks its user
//! against deletion first, then the cart, then books. The common order prevents deadlocks.

use bookstore_entity::{
    cart::{self, Column, Entity, Model},
    cart_item, user,
};
use bookstore_query::{
    Resource,
    children::children,
    crud::{self, Expected},
    list::{self, ListQuery, Listed, PAGE_BYTES},
};
use bookstore_store::{
    Connection, ConstraintCheck, FieldViolation, Operation, Precondition, StoreError,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, LockType, OnConflict},
};
use uuid::Uuid;

use super::{Cart, ITEM_BOOK};
use crate::{
    resource::{
        order::{self, NewOrder, OrderLine},
        user::User,
    },
    rpc::etag,
    rpc::stamp::{operations, queries},
};

/// The most copies of a book in a cart.
const MOST_COPIES: i32 = 1_000;

/// The most books in a cart.
const MOST_BOOKS: usize = 100;

/// The cart isn't empty.
const CART_EMPTY: Precondition = Precondition::new("CART_EMPTY", "there is nothing in the cart");

/// The cart has room for what is put into it.
const CART_FULL: Precondition = Precondition::new("CART_FULL", "a cart doesn't hold that much");

/// A cart with its items.
pub type Filled = (Model, Vec<CartItemRow>);

queries! {
    /// Reads a user's cart; none if nothing was ever put into it.
    GetCart(Uuid) -> Option<Filled> = get;
    /// Reads a page of the list.
    ListCarts(ListQuery) -> Listed<Filled> = list;
}

operations! {
    /// Adds copies of a book to a cart.
    AddItem(ItemChange) -> Filled = add, checks_of_book;
    /// Sets how many copies of a book are in a cart.
    UpdateItem(ItemChange) -> Filled = update, checks_of_book;
    /// Removes a book from a cart.
    RemoveItem(ItemChange) -> Filled = remove, checks_of_book;
    /// Removes all books from a cart.
    Clear(CartTarget) -> Filled = clear, no_checks;
}

/// A cart that is to change.
#[derive(Clone, Debug)]
pub struct CartTarget {
    /// The user.
    pub user_id: Uuid,
    /// The etag that it must have, which can only be read with the cart's id; empty for any.
    pub etag: String,
}

/// A change of one book in a cart.
#[derive(Clone, Debug)]
pub struct ItemChange {
    /// The cart.
    pub cart: CartTarget,
    /// The book.
    pub book_id: Uuid,
    /// How many copies; ignored where the book is removed.
    pub quantity: i32,
}

/// Orders the items of a cart and clears it.
pub struct Checkout {
    cart: CartTarget,
    order: NewOrder,
}

impl Checkout {
    /// The order gets this id.
    pub fn new(cart: CartTarget, order_id: Uuid, shipping_address: String) -> Self {
        let (id_field, user_id) = ("order_id", cart.user_id);
        Self { cart, order: NewOrder { id: order_id, id_field, user_id, shipping_address } }
    }
}

impl Operation for Checkout {
    const NAME: &'static str = "Checkout";
    type Output = order::WithItems;

    async fn apply(&self, connection: &Connection) -> Result<order::WithItems, StoreError> {
        let (cart, items) = change(connection, &self.cart).await?;
        if items.is_empty() {
            return Err(CART_EMPTY.into());
        }
        let line =
            |item: &CartItemRow| OrderLine { book_id: item.book_id, quantity: item.quantity };
        let lines: Vec<OrderLine> = items.iter().map(line).collect();
        let placed = order::place(connection, &self.order, &lines).await?;
        empty(connection, &cart).await?;
        Ok(placed)
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        order::constraint_checks(&self.order)
    }
}

/// A book in a cart.
#[derive(Clone, Debug, FromQueryResult)]
pub struct CartItemRow {
    /// The book.
    pub book_id: Uuid,
    /// How many copies.
    pub quantity: i32,
    /// When it was put in.
    pub created_at: DateTime<Utc>,
}

const ITEM: [cart_item::Column; 3] =
    [cart_item::Column::BookId, cart_item::Column::Quantity, cart_item::Column::CreatedAt];

async fn get(connection: &Connection, user_id: &Uuid) -> Result<Option<Filled>, StoreError> {
    let cart = Entity::find().filter(Column::UserId.eq(*user_id)).one(connection).await?;
    let Some(cart) = cart else {
        user_exists(connection, *user_id).await?;
        return Ok(None);
    };
    // Read after the cart: if the cart changes in between, the answer has the old etag, which a
    // later write refuses.
    let items = items(connection, &cart).await?;
    Ok(Some((cart, items)))
}

async fn items(connection: &Connection, cart: &Model) -> Result<Vec<CartItemRow>, StoreError> {
    let (parent, ids) = (cart_item::Column::CartId, [cart.id]);
    let items = children::<cart_item::Entity, _>(connection, parent, &ITEM, &ids, PAGE_BYTES);
    Ok(items.await?.pop().unwrap_or_default())
}

async fn list(connection: &Connection, query: &ListQuery) -> Result<Listed<Filled>, StoreError> {
    let listed = list::list::<Cart>(connection, query).await?;
    let ids: Vec<Uuid> = listed.rows.iter().map(|cart| cart.id).collect();
    let parent = cart_item::Column::CartId;
    let items =
        children::<cart_item::Entity, _>(connection, parent, &ITEM, &ids, PAGE_BYTES).await?;
    Ok(listed.beside(items))
}

async fn user_exists(connection: &Connection, id: Uuid) -> Result<(), StoreError> {
    let user = user::Entity::find_by_id(id).select_only().column(user::Column::Id);
    one_user(connection, id, user).await
}

async fn one_user(
    connection: &Connection,
    id: Uuid,
    user: Select<user::Entity>,
) -> Result<(), StoreError> {
    match user.into_tuple::<Uuid>().one(connection).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::NotFound { resource: User::NAME, id, field: "user_id".into() }),
    }
}

/// Locks a cart, which is inserted if it doesn't exist, gives it a new version and time, and reads
/// its items.
async fn change(connection: &Connection, target: &CartTarget) -> Result<Filled, StoreError> {
    let user = user::Entity::find_by_id(target.user_id).select_only().column(user::Column::Id);
    // A deletion of the user also deletes the cart. It locks them in this order too.
    let user = user.lock(LockType::KeyShare);
    one_user(connection, target.user_id, user).await?;
    let now = bookstore_store::now();
    let row = cart::ActiveModel {
        id: Set(Uuid::now_v7()),
        user_id: Set(target.user_id),
        created_at: Set(now),
        updated_at: Set(now),
        version: Set(1),
    };
    let version = Expr::col((Entity, Column::Version)).add(1);
    // Later than the change before, whatever the clock says: it orders the items.
    let later = crud::later_sql(
        connection.get_database_backend(),
        r#""excluded"."updated_at""#,
        r#""carts"."updated_at""#,
    );
    let again = OnConflict::column(Column::UserId)
        .value(Column::UpdatedAt, Expr::cust(later))
        .value(Column::Version, version)
        .to_owned();
    let cart = Entity::insert(row).on_conflict(again).exec_with_returning(connection).await?;
    let is_expected = match etag::read(cart.id, &target.etag) {
        Expected::Any => true,
        // The version that it had until now.
        Expected::State(version, created) => {
            (cart.version - 1, cart.created_at) == (version, created)
        }
        Expected::Never => false,
    };
    if !is_expected {
        let (resource, id) = (Cart::NAME, cart.id);
        return Err(StoreError::EtagMismatch { resource, id, field: "etag".into() });
    }
    let items = items(connection, &cart).await?;
    Ok((cart, items))
}

async fn add(connection: &Connection, change_of: &ItemChange) -> Result<Filled, StoreError> {
    let (cart, mut items) = change(connection, &change_of.cart).await?;
    let ItemChange { book_id, quantity, .. } = *change_of;
    if let Some(item) = items.iter_mut().find(|item| item.book_id == book_id) {
        let room = MOST_COPIES - item.quantity;
        if quantity > room {
            let description = format!("is more than the {room} copies that there is room for");
            return Err(full("quantity", description, room));
        }
        item.quantity += quantity;
        set_quantity(connection, &cart, item).await?;
    } else {
        if items.len() >= MOST_BOOKS {
            let description = format!("is one more than the {MOST_BOOKS} books that a cart holds");
            return Err(full("book_id", description, 0));
        }
        let item = CartItemRow { book_id, quantity, created_at: cart.updated_at };
        insert(connection, &cart, &item).await?;
        items.push(item);
    }
    Ok((cart, items))
}

async fn update(connection: &Connection, change_of: &ItemChange) -> Result<Filled, StoreError> {
    let (cart, mut items) = change(connection, &change_of.cart).await?;
    let item = items.iter_mut().find(|item| item.book_id == change_of.book_id);
    let item = item.ok_or_else(|| not_inside(change_of.book_id))?;
    item.quantity = change_of.quantity;
    set_quantity(connection, &cart, item).await?;
    Ok((cart, items))
}

async fn remove(connection: &Connection, change_of: &ItemChange) -> Result<Filled, StoreError> {
    let (cart, mut items) = change(connection, &change_of.cart).await?;
    let place = items.iter().position(|item| item.book_id == change_of.book_id);
    items.remove(place.ok_or_else(|| not_inside(change_of.book_id))?);
    cart_item::Entity::delete_many()
        .filter(cart_item::Column::CartId.eq(cart.id))
        .filter(cart_item::Column::BookId.eq(change_of.book_id))
        .exec(connection)
        .await?;
    Ok((cart, items))
}

async fn clear(connection: &Connection, target: &CartTarget) -> Result<Filled, StoreError> {
    let (cart, _) = change(connection, target).await?;
    empty(connection, &cart).await?;
    Ok((cart, Vec::new()))
}

async fn empty(connection: &Connection, cart: &Model) -> Result<(), StoreError> {
    let of_cart = cart_item::Column::CartId.eq(cart.id);
    cart_item::Entity::delete_many().filter(of_cart).exec(connection).await?;
    Ok(())
}

async fn insert(
    connection: &Connection,
    cart: &Model,
    item: &CartItemRow,
) -> Result<(), StoreError> {
    let row = cart_item::ActiveModel {
        id: Set(Uuid::now_v7()),
        cart_id: Set(cart.id),
        book_id: Set(item.book_id),
        quantity: Set(item.quantity),
        created_at: Set(item.created_at),
        updated_at: Set(item.created_at),
        version: Set(1),
    };
    cart_item::Entity::insert(row).exec_without_returning(connection).await?;
    Ok(())
}

async fn set_quantity(
    connection: &Connection,
    cart: &Model,
    item: &CartItemRow,
) -> Result<(), StoreError> {
    let version = cart_item::Column::Version;
    cart_item::Entity::update_many()
        .col_expr(cart_item::Column::Quantity, Expr::value(item.quantity))
        .col_expr(cart_item::Column::UpdatedAt, Expr::value(cart.updated_at))
        .col_expr(version, Expr::col(version).add(1))
        .filter(cart_item::Column::CartId.eq(cart.id))
        .filter(cart_item::Column::BookId.eq(item.book_id))
        .exec(connection)
        .await?;
    Ok(())
}

fn full(field: &str, description: String, room: i32) -> StoreError {
    CART_FULL.at(vec![FieldViolation::new(field, description)]).with("left", room).into()
}

fn not_inside(book_id: Uuid) -> StoreError {
    StoreError::NotFound { resource: "cart item", id: book_id, field: "book_id".into() }
}

fn checks_of_book(change_of: &ItemChange) -> Vec<ConstraintCheck> {
    vec![ConstraintCheck {
        constraint: &ITEM_BOOK,
        field: "book_id".into(),
        values: vec![change_of.book_id.into()],
        own: None,
        only_new: false,
    }]
}

fn no_checks(_: &CartTarget) -> Vec<ConstraintCheck> {
    Vec::new()
}
