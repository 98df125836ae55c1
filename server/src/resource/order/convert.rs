//! Converts orders between messages and rows.

use std::collections::HashSet;

use bookstore_entity::order::Model;
use bookstore_proto::v1::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, CancelOrderRequest, ConfirmOrderRequest,
    DeliverOrderRequest, GetOrderRequest, ListOrdersRequest, ListOrdersResponse, Order as Message,
    OrderItem, OrderStatus, PlaceOrderItem, PlaceOrderRequest, ShipOrderRequest,
};
use bookstore_query::list::{ListQuery, Listed};
use bookstore_store::StoreError;
use uuid::Uuid;

use super::{
    Order, STATUSES,
    operations::{
        CancelOrder, ConfirmOrder, DeliverOrder, GetOrder, GetOrders, ListOrders, OrderTransition,
        PlaceOrder, ShipOrder,
    },
    placed::{NewOrder, OrderItemRow, OrderLine, WithItems},
};
use crate::rpc::{
    check::Check,
    etag, list,
    request::{ReadRequest, WriteRequest},
    standard::{self, standard_list},
    wire,
};

standard_list!(Order: ListOrdersRequest => ListOrders, ListOrdersResponse { orders } by page);

fn page(query: &ListQuery, listed: Listed<WithItems>) -> Result<list::Page<Message>, StoreError> {
    list::page_of::<Order, _, _>(query, listed, message)
}

impl ReadRequest for GetOrderRequest {
    type Query = GetOrder;
    type Answer = Message;

    fn query(self, check: &mut Check<'_>) -> Option<GetOrder> {
        standard::id::<Order>(check, &self.id).map(GetOrder)
    }

    fn answer(_: &GetOrder, (order, items): WithItems) -> Result<Message, StoreError> {
        Ok(message(order, items))
    }
}

impl ReadRequest for BatchGetOrdersRequest {
    type Query = GetOrders;
    type Answer = BatchGetOrdersResponse;

    fn query(self, check: &mut Check<'_>) -> Option<GetOrders> {
        standard::ids::<Order>(check, &self.ids, "orders").map(GetOrders)
    }

    fn answer(_: &GetOrders, orders: Vec<WithItems>) -> Result<BatchGetOrdersResponse, StoreError> {
        let orders = orders.into_iter().map(|(order, items)| message(order, items));
        Ok(BatchGetOrdersResponse { orders: orders.collect() })
    }
}

impl WriteRequest for PlaceOrderRequest {
    type Operation = PlaceOrder;
    type Answer = Message;

    fn operation(self, check: &mut Check<'_>) -> Option<PlaceOrder> {
        let mut books = HashSet::new();
        for (at, item) in self.items.iter().enumerate() {
            // The contract's rules refuse a malformed id.
            if check.id(&item.book_id).is_some_and(|id| !books.insert(id)) {
                check.violation(format!("items[{at}].book_id"), "stands in this order already");
            }
        }
        let line = |item: &PlaceOrderItem| {
            Some(OrderLine { book_id: check.id(&item.book_id)?, quantity: item.quantity })
        };
        let lines = self.items.iter().map(line).collect::<Option<_>>()?;
        let id = match &*self.id {
            "" => Uuid::now_v7(),
            given => check.id(given)?,
        };
        let (id_field, user_id) = ("id", check.id(&self.user_id)?);
        let shipping_address = self.shipping_address;
        Some(PlaceOrder { order: NewOrder { id, id_field, user_id, shipping_address }, lines })
    }

    fn answer((order, items): WithItems) -> Message {
        message(order, items)
    }
}

/// The requests that change an order's status, which have the same form.
macro_rules! steps {
    ($($request:ident => $operation:ident;)+) => {$(
        impl WriteRequest for $request {
            type Operation = $operation;
            type Answer = Message;

            fn operation(self, check: &mut Check<'_>) -> Option<$operation> {
                let id = check.id(&self.id)?;
                Some($operation(OrderTransition { id, expected: check.etag(id, &self.etag) }))
            }

            fn answer((order, items): WithItems) -> Message {
                message(order, items)
            }
        }
    )+};
}

steps! {
    ConfirmOrderRequest => ConfirmOrder;
    ShipOrderRequest => ShipOrder;
    DeliverOrderRequest => DeliverOrder;
    CancelOrderRequest => CancelOrder;
}

/// An order as a message.
pub fn message(order: Model, items: Vec<OrderItemRow>) -> Message {
    let currency = &order.currency_code;
    let items = items.into_iter().map(|item| OrderItem {
        book_id: item.book_id.to_string(),
        quantity: item.quantity,
        price: Some(wire::money(item.price_micros, currency.clone())),
    });
    Message {
        id: order.id.to_string(),
        etag: etag::write(order.id, order.version, order.created_at),
        user_id: order.user_id.to_string(),
        status: status(&order.status).into(),
        items: items.collect(),
        total: Some(wire::money(order.total_micros, order.currency_code)),
        shipping_address: order.shipping_address,
        create_time: wire::timestamp(order.created_at),
        update_time: wire::timestamp(order.updated_at),
    }
}

/// A status as the contract's enum.
fn status(column: &str) -> OrderStatus {
    let name = STATUSES.iter().find(|(_, stored)| *stored == column).map(|(name, _)| *name);
    name.and_then(OrderStatus::from_str_name).unwrap_or_default()
}
