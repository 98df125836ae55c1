//! Places orders, each once, whatever happens to the service or to this program meanwhile.
//!
//! `cargo run -p bookstore-client --example place_orders -- 20 http://127.0.0.1:50051`

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program's own output")]

use std::{error::Error, time::Duration};

use bookstore_client::{
    CallOptions, Client, ClientOptions, IntoCall, Reason, Uuid,
    v1::{CreateUserRequest, ErrorReason, Order, PlaceOrderItem, PlaceOrderRequest, User},
};

/// A book of the sample data.
const BOOK: &str = "01930000-0000-7000-8000-0000000101f4";
/// The customer; this program creates it.
const USER: &str = "0195a000-0000-4000-8000-000000000001";
/// From this and an order's number comes the order's key. Use a UUID of your own.
const ORDERS: Uuid = Uuid::from_u128(0x5c2b_9f0e_7d43_4b8a_9a51_02d6_7c3e_1f84);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().ok_or("how many orders, and the addresses")?.parse()?;
    // Several addresses are several instances: calls go round robin to those that are ready.
    let client = ClientOptions::new(arguments).timeout(Duration::from_secs(10)).connect()?;
    create_user(&client).await?;
    for number in 1..=count {
        let order = place(&client, number, BOOK).await?;
        println!("order {number}: {}", order.id);
    }
    Ok(())
}

/// Creates the customer, unless an earlier run of this program has done so.
pub async fn create_user(client: &Client) -> Result<(), bookstore_client::Error> {
    let user = User {
        email: "ada@example.com".into(),
        username: "ada".into(),
        full_name: "Ada".into(),
        password: "correct horse battery".into(),
        ..User::default()
    };
    let request = CreateUserRequest { user: Some(user), id: USER.into() };
    match client.users().create_user(request).await.map_err(bookstore_client::Error::from) {
        Err(error) if !error.is(ErrorReason::ResourceAlreadyExists) => Err(error),
        _ => Ok(()),
    }
}

/// Places order number `number`, once: the client repeats a lost call under the order's key, and
/// this loop goes on where the client's deadline and attempts end.
pub async fn place(
    client: &Client,
    number: u32,
    book: &str,
) -> Result<Order, bookstore_client::Error> {
    let request = PlaceOrderRequest {
        user_id: USER.into(),
        shipping_address: "1 Quiet Street, Lisbon".into(),
        items: vec![PlaceOrderItem { book_id: book.into(), quantity: 1 }],
        ..PlaceOrderRequest::default()
    };
    // The same order has the same key in every run of this program.
    let key = Uuid::new_v5(&ORDERS, &number.to_be_bytes());
    loop {
        let call = request.clone().into_call().idempotency_key(key);
        let error = match client.orders().place_order(call).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => bookstore_client::Error::from(status),
        };
        if let Reason::Service(ErrorReason::InsufficientStock) = error.reason() {
            for violation in error.field_violations() {
                eprintln!("order {number}: {} {}", violation.field, violation.description);
            }
        }
        if !error.is_transient() {
            return Err(error);
        }
        eprintln!("order {number}: again after {} attempts: {error}", error.attempts());
        tokio::time::sleep(error.retry_delay().unwrap_or(Duration::from_millis(500))).await;
    }
}
