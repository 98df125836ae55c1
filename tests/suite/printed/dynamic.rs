//! Calls by a method's name, in JSON, as grpcurl makes them.

use bookstore_proto::DESCRIPTOR_POOL;
use bookstore_tests::TestServer;
use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _},
};
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::Value;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataKey},
};

use super::text::{Answer, Refusal};
use crate::client;

/// Calls a method that doesn't stream.
pub(crate) async fn call(server: &TestServer, method: &str, body: Value) -> Result<Value, Status> {
    let mut values = send(server, method, vec![body], &[]).await?;
    Ok(values.pop().expect("an answer"))
}

/// The same for any method, with metadata; the answer as grpcurl prints it.
pub(super) async fn answer(
    server: &TestServer,
    method: &str,
    requests: Vec<Value>,
    metadata: &[(&str, &str)],
) -> Answer {
    match send(server, method, requests, metadata).await {
        Ok(values) => Answer { values, refusal: None },
        Err(status) => {
            let kind = DESCRIPTOR_POOL.get_message_by_name("google.rpc.Status").expect("it");
            let details = DynamicMessage::decode(kind, status.details()).expect("a Status");
            let details = serde_json::to_value(details).expect("JSON");
            let refusal = Refusal {
                code: format!("{:?}", status.code()),
                message: status.message().to_owned(),
                details: details["details"].as_array().cloned().unwrap_or_default(),
            };
            Answer { values: Vec::new(), refusal: Some(refusal) }
        }
    }
}

async fn send(
    server: &TestServer,
    method: &str,
    requests: Vec<Value>,
    metadata: &[(&str, &str)],
) -> Result<Vec<Value>, Status> {
    let found = find(method);
    let messages: Vec<DynamicMessage> =
        requests.into_iter().map(|body| client::dynamic(found.input(), body)).collect();
    let mut request = Request::new(tokio_stream::iter(messages));
    for (key, value) in metadata {
        let key: MetadataKey<Ascii> = key.parse().expect("a key of metadata");
        request.metadata_mut().insert(key, value.parse().expect("a value of metadata"));
    }
    let mut grpc = Grpc::new(server.channel());
    grpc.ready().await.expect("a connection");
    let path = format!("/{method}").parse().expect("a path");
    // A call that doesn't stream is a stream of one message (gRPC over HTTP/2).
    let mut answers = grpc.streaming(request, path, Dynamic(found.output())).await?.into_inner();
    let mut values = Vec::new();
    while let Some(answer) = answers.message().await? {
        values.push(serde_json::to_value(answer).expect("JSON"));
    }
    Ok(values)
}

fn find(method: &str) -> MethodDescriptor {
    let (service, name) = method.split_once('/').expect("service/method");
    let service = DESCRIPTOR_POOL.get_service_by_name(service).expect("a service");
    let found = service.methods().find(|found| found.name() == name);
    found.expect(method)
}

/// Messages of a type that is known at run time only.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let message = DynamicMessage::decode(self.0.clone(), bytes);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
