//! Carts between the wire and the row.

use bookstore_proto::v1::{Cart, CartItem, GetCartRequest};

use super::operations::{GetCart, Item};
use crate::{
    rpc::{check::Check, etag, request::ReadRequest, wire},
    store::{Query, StoreError},
};

impl ReadRequest for GetCartRequest {
    type Query = GetCart;
    type Answer = Cart;

    fn query(self, check: &mut Check<'_>) -> Option<GetCart> {
        check.id(&self.user_id).map(GetCart)
    }

    fn answer(query: &GetCart, read: <GetCart as Query>::Output) -> Result<Cart, StoreError> {
        let empty = Cart { user_id: query.0.to_string(), ..Default::default() };
        let Some((cart, items)) = read else { return Ok(empty) };
        Ok(Cart {
            id: cart.id.to_string(),
            etag: etag::write(cart.id, cart.version, cart.created_at),
            items: items.into_iter().map(item).collect(),
            create_time: wire::timestamp(cart.created_at),
            update_time: wire::timestamp(cart.updated_at),
            ..empty
        })
    }
}

fn item(item: Item) -> CartItem {
    CartItem {
        book_id: item.book_id.to_string(),
        quantity: item.quantity,
        create_time: wire::timestamp(item.created_at),
    }
}
