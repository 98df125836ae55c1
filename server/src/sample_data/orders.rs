//! The orders of the sample data, in every status.

use bookstore_proto::v1::{
    CancelOrderRequest, ConfirmOrderRequest, DeliverOrderRequest, GetOrderRequest, OrderStatus,
    PlaceOrderItem, PlaceOrderRequest, ShipOrderRequest,
};
use tonic::{Code, Status};

use super::{
    ids::{BOOK, FEWEST_BOOKS, ORDER, USER, id},
    loader::{Loader, request},
};

/// How many orders there are.
pub(super) const ORDERS: u128 = 15;

/// The first users have placed them.
const BUYERS: u128 = 6;

/// The orders have these in turn.
const STATUSES: [OrderStatus; 5] = [
    OrderStatus::Pending,
    OrderStatus::Confirmed,
    OrderStatus::Shipped,
    OrderStatus::Delivered,
    OrderStatus::Cancelled,
];

/// The books of order number n, 1 to 3, and how many copies of each.
fn lines(n: u128) -> impl Iterator<Item = (u128, i32)> {
    (0..=n % 3).map(move |line| {
        let copies = i32::try_from(1 + (n + line) % 2).unwrap_or(1);
        ((n * 11 + line * 17) % u128::from(FEWEST_BOOKS) + 1, copies)
    })
}

/// The status that order number n gets.
fn status(n: u128) -> OrderStatus {
    let place = usize::try_from(n).unwrap_or_default() % STATUSES.len();
    STATUSES.get(place).copied().unwrap_or_default()
}

/// How many copies of a book the orders take out of the stock.
pub(super) fn copies_of(book: u128) -> i32 {
    let kept = (1..=ORDERS).filter(|n| status(*n) != OrderStatus::Cancelled);
    let kept = kept.flat_map(lines).filter(|(ordered, _)| *ordered == book);
    kept.map(|(_, copies)| copies).sum()
}

/// Places the orders and changes their status step by step.
pub(super) async fn load(loader: &Loader<'_>) -> Result<(), Status> {
    for n in 1..=ORDERS {
        let item = |(book, quantity)| PlaceOrderItem { book_id: id(BOOK, book), quantity };
        let order = PlaceOrderRequest {
            user_id: id(USER, n % BUYERS + 1),
            items: lines(n).map(item).collect(),
            shipping_address: format!("{n} Quiet Street, Lisbon"),
            id: id(ORDER, n),
        };
        loader.write(order).await?;
        advance(loader, n).await?;
    }
    Ok(())
}

/// Changes the status of an order until it is the wanted one. An earlier load may have ended between
/// two steps.
async fn advance(loader: &Loader<'_>, n: u128) -> Result<(), Status> {
    let wanted = status(n);
    for _ in STATUSES {
        let read = loader.calls.read(request(GetOrderRequest { id: id(ORDER, n) })).await;
        let current = match read {
            Ok(order) => order.get_ref().status(),
            // It was skipped.
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            Err(status) => return Err(status),
        };
        let (id, etag) = (id(ORDER, n), String::new());
        match (current, wanted) {
            (current, wanted) if current == wanted => return Ok(()),
            (OrderStatus::Pending, OrderStatus::Cancelled) => {
                loader.write(CancelOrderRequest { id, etag }).await?;
            }
            (OrderStatus::Pending, _) => loader.write(ConfirmOrderRequest { id, etag }).await?,
            (OrderStatus::Confirmed, OrderStatus::Shipped | OrderStatus::Delivered) => {
                loader.write(ShipOrderRequest { id, etag }).await?;
            }
            (OrderStatus::Shipped, OrderStatus::Delivered) => {
                loader.write(DeliverOrderRequest { id, etag }).await?;
            }
            // A caller has changed it.
            _ => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn orders_have_every_status_and_name_a_book_once() {
        let statuses: HashSet<_> = (1..=ORDERS).map(status).collect();
        assert_eq!(statuses, HashSet::from(STATUSES));
        for n in 1..=ORDERS {
            let books: HashSet<_> = lines(n).map(|(book, _)| book).collect();
            assert_eq!(books.len(), lines(n).count(), "order {n}");
        }
    }
}
