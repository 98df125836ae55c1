//! Converts carts between messages and rows.

use bookstore_entity::cart::Model;
use bookstore_proto::v1::{
    AddCartItemRequest, Cart as Message, CartItem, CheckoutRequest, ClearCartRequest,
    GetCartRequest, ListCartsRequest, ListCartsResponse, Order, RemoveCartItemRequest,
    UpdateCartItemRequest,
};
use bookstore_query::list::{ListQuery, Listed};
use bookstore_store::{Query, StoreError};
use uuid::Uuid;

use super::{
    Cart,
    operations::{
        AddItem, CartItemRow, CartTarget, Checkout, Clear, Filled, GetCart, ItemChange, ListCarts,
        RemoveItem, UpdateItem,
    },
};
use crate::{
    resource::order,
    rpc::{
        check::Check,
        etag, list,
        request::{ReadRequest, WriteRequest},
        standard::standard_list,
        wire,
    },
};

standard_list!(Cart: ListCartsRequest => ListCarts, ListCartsResponse { carts } by page);

fn page(query: &ListQuery, listed: Listed<Filled>) -> Result<list::Page<Message>, StoreError> {
    list::page_of::<Cart, _, _>(query, listed, message)
}

impl ReadRequest for GetCartRequest {
    type Query = GetCart;
    type Answer = Message;

    fn query(self, check: &mut Check<'_>) -> Option<GetCart> {
        check.id(&self.user_id).map(GetCart)
    }

    fn answer(query: &GetCart, read: <GetCart as Query>::Output) -> Result<Message, StoreError> {
        Ok(match read {
            Some((cart, items)) => message(cart, items),
            None => Message { user_id: query.0.to_string(), ..Default::default() },
        })
    }
}

impl WriteRequest for CheckoutRequest {
    type Operation = Checkout;
    type Answer = Order;

    fn operation(self, check: &mut Check<'_>) -> Option<Checkout> {
        let order_id = match &*self.order_id {
            "" => Uuid::now_v7(),
            given => check.id(given)?,
        };
        let cart = target(check, &self.user_id, self.etag)?;
        Some(Checkout::new(cart, order_id, self.shipping_address))
    }

    fn answer((order, items): order::WithItems) -> Order {
        order::message(order, items)
    }
}

/// The requests that change the items of a cart, which have the same form.
macro_rules! changes {
    ($($request:ident => $operation:ident($change:expr);)+) => {$(
        impl WriteRequest for $request {
            type Operation = $operation;
            type Answer = Message;

            fn operation(self, check: &mut Check<'_>) -> Option<$operation> {
                let change: fn(&Check<'_>, &Self, CartTarget) -> Option<_> = $change;
                let cart = target(check, &self.user_id, self.etag.clone())?;
                change(check, &self, cart).map($operation)
            }

            fn answer((cart, items): Filled) -> Message {
                message(cart, items)
            }
        }
    )+};
}

changes! {
    AddCartItemRequest => AddItem(|check, it, cart| item_change(check, cart, &it.book_id, it.quantity));
    UpdateCartItemRequest => UpdateItem(|check, it, cart| item_change(check, cart, &it.book_id, it.quantity));
    RemoveCartItemRequest => RemoveItem(|check, it, cart| item_change(check, cart, &it.book_id, 0));
    ClearCartRequest => Clear(|_, _, cart| Some(cart));
}

/// The etag is read once the cart's id is known: it is the id that an etag is of.
fn target(check: &Check<'_>, user_id: &str, etag: String) -> Option<CartTarget> {
    Some(CartTarget { user_id: check.id(user_id)?, etag })
}

fn item_change(
    check: &Check<'_>,
    cart: CartTarget,
    book_id: &str,
    quantity: i32,
) -> Option<ItemChange> {
    Some(ItemChange { cart, book_id: check.id(book_id)?, quantity })
}

fn message(cart: Model, items: Vec<CartItemRow>) -> Message {
    Message {
        id: cart.id.to_string(),
        user_id: cart.user_id.to_string(),
        etag: etag::write(cart.id, cart.version, cart.created_at),
        items: items.into_iter().map(item).collect(),
        create_time: wire::timestamp(cart.created_at),
        update_time: wire::timestamp(cart.updated_at),
    }
}

fn item(item: CartItemRow) -> CartItem {
    CartItem {
        book_id: item.book_id.to_string(),
        quantity: item.quantity,
        create_time: wire::timestamp(item.created_at),
    }
}
