//! The reads and writes of orders, with checked values. An order is always read with its items,
//! which never change.

use bookstore_entity::{
    order::{Column, Entity, Model},
    order_item,
};
use bookstore_query::{
    Resource,
    children::children,
    crud::{self, Columns, Expected, Ids, One},
    list::{self, ListQuery, Listed, PAGE_BYTES},
};
use bookstore_store::{
    Connection, ConstraintCheck, FieldViolation, Operation, Precondition, StoreError,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait},
};
use uuid::Uuid;

use super::{
    CANCELLED, CONFIRMED, DELIVERED, Order, SHIPPED, TRANSITIONS,
    placed::{NewOrder, OrderItemRow, OrderLine, WithItems},
    placing::{self, give_back, place},
    whole,
};
use crate::rpc::stamp::{operations, queries};

/// The order's status allows the transition.
const ORDER_STATE: Precondition =
    Precondition::new("ORDER_STATE", "the order isn't in a state for that");

queries! {
    /// Reads one order.
    GetOrder(One) -> WithItems = get, whole::by_id, whole::of_rows;
    /// Reads many orders by their ids.
    GetOrders(Ids) -> Vec<WithItems> = get_many, whole::many_by_id, whole::of_many_rows;
    /// Reads a page of the list.
    ListOrders(ListQuery) -> Listed<WithItems> = list;
}

operations! {
    /// Confirms an order.
    ConfirmOrder(OrderTransition) -> WithItems = confirm, no_checks;
    /// Marks an order as shipped.
    ShipOrder(OrderTransition) -> WithItems = ship, no_checks;
    /// Marks an order as delivered.
    DeliverOrder(OrderTransition) -> WithItems = deliver, no_checks;
    /// Cancels an order and returns its copies to the stock.
    CancelOrder(OrderTransition) -> WithItems = cancel, no_checks;
}

/// Places an order.
pub struct PlaceOrder {
    /// The order.
    pub order: NewOrder,
    /// Its lines.
    pub lines: Vec<OrderLine>,
}

impl Operation for PlaceOrder {
    const NAME: &'static str = "PlaceOrder";
    type Output = WithItems;

    async fn apply(&self, connection: &Connection) -> Result<WithItems, StoreError> {
        place(connection, &self.order, &self.lines).await
    }

    fn constraint_checks(&self) -> Vec<ConstraintCheck> {
        placing::constraint_checks(&self.order)
    }

    fn single_statement(&self, backend: DbBackend) -> Option<usize> {
        let most = crud::ANSWER_MARGIN
            + self.order.shipping_address.len()
            + self.lines.len() * ORDER_LINE_BYTES;
        (backend == DbBackend::Postgres).then_some(most)
    }
}

/// A change of an order's status.
#[derive(Clone, Copy, Debug)]
pub struct OrderTransition {
    /// The order.
    pub id: Uuid,
    /// The etag that it must have.
    pub expected: Expected,
}

/// The most bytes that an order line takes in an answer: a book's id, a quantity, a price.
const ORDER_LINE_BYTES: usize = 256;

const ITEM: [order_item::Column; 3] =
    [order_item::Column::BookId, order_item::Column::Quantity, order_item::Column::PriceMicros];

async fn get(connection: &Connection, one: &One) -> Result<WithItems, StoreError> {
    let statement = whole::for_one(connection.get_database_backend(), one.id);
    let read = connection.cached_up_to(statement, whole::MOST).await?;
    let rows: Vec<_> = read.rows.into_iter().map(|(row, _)| row).collect();
    match read.cut || whole::items(rows.len()) > PAGE_BYTES {
        true => {
            let size = PAGE_BYTES.saturating_add(1);
            Err(StoreError::AnswerTooLarge { size, limit: PAGE_BYTES })
        }
        false => whole::read(one.id, &rows),
    }
}

async fn get_many(connection: &Connection, ids: &Ids) -> Result<Vec<WithItems>, StoreError> {
    let orders = crud::get_many::<Order>(connection, ids).await?;
    let items = items(connection, &orders, ids.most).await?;
    match items.len() < orders.len() {
        true => {
            let size = ids.most.saturating_add(1);
            Err(StoreError::AnswerTooLarge { size, limit: ids.most })
        }
        false => Ok(orders.into_iter().zip(items).collect()),
    }
}

async fn list(connection: &Connection, query: &ListQuery) -> Result<Listed<WithItems>, StoreError> {
    let listed = list::list::<Order>(connection, query).await?;
    let items = items(connection, &listed.rows, PAGE_BYTES).await?;
    Ok(listed.beside(items))
}

/// The items of each order, for as many orders as fit.
async fn items(
    connection: &Connection,
    orders: &[Model],
    most: usize,
) -> Result<Vec<Vec<OrderItemRow>>, StoreError> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let parent = order_item::Column::OrderId;
    children::<order_item::Entity, _>(connection, parent, &ITEM, &ids, most).await
}

async fn confirm(connection: &Connection, step: &OrderTransition) -> Result<WithItems, StoreError> {
    advance(connection, step, CONFIRMED).await
}

async fn ship(connection: &Connection, step: &OrderTransition) -> Result<WithItems, StoreError> {
    advance(connection, step, SHIPPED).await
}

async fn deliver(connection: &Connection, step: &OrderTransition) -> Result<WithItems, StoreError> {
    advance(connection, step, DELIVERED).await
}

/// The order's row is locked by the change of its status, which happens once; the books after it.
async fn cancel(connection: &Connection, step: &OrderTransition) -> Result<WithItems, StoreError> {
    let cancelled = advance(connection, step, CANCELLED).await?;
    give_back(connection, step.id).await?;
    Ok(cancelled)
}

/// Changes an order's status if its current status allows it. The UPDATE itself has the condition,
/// so that of two concurrent calls only one succeeds.
async fn advance(
    connection: &Connection,
    step: &OrderTransition,
    status: &'static str,
) -> Result<WithItems, StoreError> {
    let mut from = TRANSITIONS.iter().filter(|(to, _)| *to == status);
    let from = from.next().map_or(&[][..], |(_, from)| *from);
    let mut rows = Entity::update_many()
        .col_expr(Column::Status, Expr::value(status))
        .col_expr(
            Column::UpdatedAt,
            crud::later(
                connection.get_database_backend(),
                bookstore_store::now(),
                r#""updated_at""#,
            ),
        )
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .filter(Column::Id.eq(step.id))
        .filter(Column::Status.is_in(from.iter().copied()))
        .filter(crud::state_is(step.expected))
        .exec_with_returning(connection)
        .await?;
    let Some(order) = rows.pop() else { return Err(refused(connection, step, from).await?) };
    let mut items = items(connection, std::slice::from_ref(&order), PAGE_BYTES).await?;
    Ok((order, items.pop().unwrap_or_default()))
}

/// Why an order's status wasn't changed.
async fn refused(
    connection: &Connection,
    step: &OrderTransition,
    from: &[&str],
) -> Result<StoreError, StoreError> {
    let (id, resource) = (step.id, Order::NAME);
    let order = crud::get::<Order>(connection, &One { id, columns: Columns::All }).await?;
    let is_expected = match step.expected {
        Expected::Any => true,
        Expected::State(version, created) => {
            (order.version, order.created_at) == (version, created)
        }
        Expected::Never => false,
    };
    if !is_expected {
        return Ok(StoreError::EtagMismatch { resource, id, field: "etag".into() });
    }
    if from.contains(&order.status.as_str()) {
        // Another transaction has just set that status.
        return Ok(crud::came_and_went());
    }
    let description = format!("names an order that is {}", order.status);
    let failed = ORDER_STATE
        .at(vec![FieldViolation::new("id", description)])
        .with("status", order.status)
        .with("resource", resource)
        .with("id", id);
    Ok(failed.into())
}

fn no_checks(_: &OrderTransition) -> Vec<ConstraintCheck> {
    Vec::new()
}
