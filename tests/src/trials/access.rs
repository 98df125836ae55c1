//! The cost of TLS and of credentials: the CPU time of a GetBook call in services that differ by one
//! of them.

use std::time::Duration;

use bookstore_proto::v1::{
    Book, CreateBookRequest, GetBookRequest, Money, book_service_client::BookServiceClient,
};
use tonic::{Request, metadata::AsciiMetadataValue};

use crate::{AccessFiles, Engine, Issuer, TestServer, TlsFiles, policy};

/// Calls in flight.
const CALLERS: u32 = 64;

/// Calls of each service in a row before the next one runs, so that disturbances affect all.
const PORTION: u32 = 3_200;

/// Portions of a round; the suite's single round has one.
const PORTIONS: u32 = 8;

const ID: &str = "0195a000-0000-4000-8000-000000000001";

/// The most that each may add to a call in the full form of a release build, in microseconds.
const MOST: [(&str, f64); 3] = [("TLS", 8.0), ("a token", 2.0), ("a JSON Web Token", 2.0)];

/// Makes `scale` rounds on PostgreSQL.
pub(super) async fn access(scale: u32) {
    let issuer = Issuer::new("k1");
    let files = AccessFiles::new("");
    files.replace("keys.json", &Issuer::keys(&[&issuer]));
    let keys = format!("keys_file = \"{}\"", files.path("keys.json").display());
    files.set_policy(&policy(|_| "member".to_owned(), &Issuer::table(&keys)));
    let token = format!("Bearer {}", files.token("ada"));
    let certificates = TlsFiles::new();
    let builder = || TestServer::builder(Engine::Postgres);
    let mut open = builder().start().await;
    let mut encrypted = builder().tls(&certificates, None).start().await;
    let mut checked = files.apply(builder()).start().await;
    create(&open, None).await;
    create(&encrypted, None).await;
    create(&checked, Some(&token)).await;

    let portions = if scale > 1 { PORTIONS } else { 1 };
    let mut added = [(); MOST.len()].map(|()| Vec::new());
    for round in 0..=scale {
        // New for each round: it is in force for five minutes.
        let signed = format!("Bearer {}", issuer.token(&Issuer::claims("ada")));
        let services = [
            (&open, None),
            (&encrypted, None),
            (&checked, Some(&token)),
            (&checked, Some(&signed)),
        ];
        let mut taken = [Duration::ZERO; 4];
        for _ in 0..portions {
            for ((server, header), taken) in services.iter().zip(&mut taken) {
                let before = cpu(server);
                get(server, *header).await;
                *taken += cpu(server) - before;
            }
        }
        let [without, with @ ..] =
            taken.map(|taken| taken.as_secs_f64() * 1e6 / f64::from(portions * PORTION));
        // The first round opens connections and prepares statements.
        if round == 0 {
            continue;
        }
        eprintln!("round {round}: {without:.1} µs a call without, {with:.1?} with");
        for (added, with) in added.iter_mut().zip(with) {
            added.push(with - without);
        }
    }
    for ((name, most), mut added) in MOST.into_iter().zip(added) {
        added.sort_by(f64::total_cmp);
        let (least, median, last) = (added[0], added[added.len() / 2], added[added.len() - 1]);
        eprintln!("{name} adds {median:.1} µs ({least:.1} to {last:.1})");
        if scale > 1 && !cfg!(debug_assertions) {
            assert!(median <= most, "{name} adds {median:.1} µs, at most {most}");
        }
    }
    for server in [&mut open, &mut encrypted, &mut checked] {
        assert_eq!(server.terminate().await.status.code(), Some(0));
    }
}

fn with<T>(message: T, header: Option<&String>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(header) = header {
        let value: AsciiMetadataValue = header.parse().expect("ASCII");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn create(server: &TestServer, header: Option<&String>) {
    let book = Book {
        title: "The Book".to_owned(),
        author: "Author".to_owned(),
        price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        ..Default::default()
    };
    let create = CreateBookRequest { id: ID.to_owned(), book: Some(book) };
    let mut books = BookServiceClient::new(server.channel());
    books.create_book(with(create, header)).await.expect("a book");
}

/// A portion of calls. Credentials that are wrong fail it.
async fn get(server: &TestServer, header: Option<&String>) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (mut books, header) = (BookServiceClient::new(server.channel()), header.cloned());
            tokio::spawn(async move {
                for _ in (caller..PORTION).step_by(CALLERS as usize) {
                    let get = GetBookRequest { id: ID.to_owned(), ..Default::default() };
                    let book = books.get_book(with(get, header.as_ref())).await.expect("the book");
                    assert_eq!(book.get_ref().id, ID);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
}

fn cpu(server: &TestServer) -> Duration {
    server.cpu_time().expect("the CPU time of a process, as Linux reports it")
}
