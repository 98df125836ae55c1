//! The codec of the generated clients and servers: prost's, with the bounds of requests held
//! against the encoded bytes first ([`crate::bounds`]).

use std::marker::PhantomData;

use prost::{Message, Name, bytes::Buf};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::bounds::{self, Measure, Violation};

/// Encodes messages of type `T` and decodes those of type `U`.
#[derive(Clone, Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encodes<T>;
    type Decoder = Decodes<U>;

    fn encoder(&mut self) -> Encodes<T> {
        Encodes(PhantomData)
    }

    fn decoder(&mut self) -> Decodes<U> {
        Decodes(PhantomData)
    }
}

/// Encodes into a buffer that has exactly the room.
#[derive(Debug)]
pub struct Encodes<T>(PhantomData<T>);

impl<T: Message> Encoder for Encodes<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // A buffer that grows by doubling would keep twice the answer.
        buffer.reserve(item.encoded_len());
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Holds a request's bytes against its bounds, then decodes them.
#[derive(Debug)]
pub struct Decodes<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for Decodes<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let whole = buffer.remaining() == buffer.chunk().len();
        let copy = if whole { None } else { Some(buffer.copy_to_bytes(buffer.remaining())) };
        match copy {
            None => decode::<U>(buffer.chunk())
                .map(Some)
                .inspect(|_| buffer.advance(buffer.remaining())),
            Some(bytes) => decode::<U>(&bytes).map(Some),
        }
        .map_err(Status::from)
    }
}

/// Why bytes are not decoded.
#[derive(Debug)]
pub enum Refusal {
    /// Parts of the message are larger than they may be.
    TooLarge(Vec<Violation>),
    /// The bytes are no message of the type.
    Malformed(prost::DecodeError),
}

/// Decodes a message that is within its bounds.
///
/// # Errors
/// What is too large, or that the bytes are no message of the type.
pub fn decode<U: Message + Name + Default>(bytes: &[u8]) -> Result<U, Refusal> {
    let is_ours = U::PACKAGE == "bookstore.v1";
    decode_measured(bytes, is_ours.then(|| bounds::measure(U::NAME, bytes)).flatten())
}

/// The same for a message whose measure is known.
///
/// # Errors
/// What is too large, or that the bytes are no message of the type.
pub fn decode_measured<U: Message + Default>(
    bytes: &[u8],
    measure: Option<Measure>,
) -> Result<U, Refusal> {
    match measure {
        Some(measure) if !measure.violations.is_empty() => {
            Err(Refusal::TooLarge(measure.violations))
        }
        _ => U::decode(bytes).map_err(Refusal::Malformed),
    }
}

impl From<Refusal> for Status {
    /// A line for each violation, the field and what is wrong with it; malformed bytes as prost's
    /// codec tells them.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(error) => Self::internal(error.to_string()),
            Refusal::TooLarge(violations) => {
                let line = |it: &Violation| format!("{}: {}", it.field, it.description);
                Self::invalid_argument(violations.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// The violations that a status of this codec tells.
pub fn violations(status: &Status) -> Vec<Violation> {
    let lines = status.message().lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(field, description)| Violation {
            field: field.to_owned(),
            description: description.to_owned(),
        })
        .collect()
}
