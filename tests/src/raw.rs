//! A gRPC connection without client-side deadlines. tonic's channel ends a call at its deadline, so
//! a test would never see the service's own answer.

use std::net::SocketAddr;

use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tower::{service_fn, util::BoxCloneSyncService};

/// A connection for tonic's clients.
pub type Raw = BoxCloneSyncService<Request<Body>, Response<Incoming>, hyper::Error>;

/// Opens a connection.
///
/// # Panics
/// If the port is closed.
pub async fn raw(address: SocketAddr) -> Raw {
    let stream = TcpStream::connect(address).await.expect("a TCP connection");
    stream.set_nodelay(true).expect("a connection without delay");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    // The task ends when the last client is dropped.
    tokio::spawn(connection);
    BoxCloneSyncService::new(service_fn(move |mut request: Request<Body>| {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder().scheme("http").authority(address.to_string());
        *request.uri_mut() = uri.path_and_query(path).build().expect("a URI");
        let mut sender = sender.clone();
        async move {
            sender.ready().await?;
            sender.send_request(request).await
        }
    }))
}
