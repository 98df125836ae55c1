//! Orders between the wire and the row.

use bookstore_entity::order::Model;
use bookstore_proto::v1::{
    BatchGetOrdersRequest, BatchGetOrdersResponse, GetOrderRequest, ListOrdersRequest,
    ListOrdersResponse, Order as Message, OrderItem, OrderStatus,
};

use super::{
    Order, STATUSES,
    operations::{GetOrder, GetOrders, Item, ListOrders, WithItems},
};
use crate::{
    rpc::{
        check::Check,
        etag, list,
        request::ReadRequest,
        standard::{self, standard_list},
        wire,
    },
    store::{
        StoreError,
        list::{ListQuery, Listed},
    },
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

fn message(order: Model, items: Vec<Item>) -> Message {
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

/// A status as the contract has it.
fn status(column: &str) -> OrderStatus {
    let name = STATUSES.iter().find(|(_, stored)| *stored == column).map(|(name, _)| *name);
    name.and_then(OrderStatus::from_str_name).unwrap_or_default()
}
