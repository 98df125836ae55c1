//! Page tokens (AIP-158): the position of the next page, sealed against forgery.
//!
//! A token is base64url (RFC 4648, section 5, without padding) of a version, a hash of the
//! request, the sort values of the last row or, of a search, the number of rows so far, and an
//! HMAC-SHA256 (RFC 2104) over all of that.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bookstore_store::sealing::{self, SEAL_BYTES};
use chrono::DateTime;
use sea_orm::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{field::Kind, filter::Filter, order::OrderBy};

/// The version of the layout. Tokens of other versions are refused.
const VERSION: u8 = 1;

/// The bytes of each hash in a token: 128 bits, too many to guess.
const HASH_BYTES: usize = 16;

/// The longest token that is decoded: three times the longest sort values, four fields of 255
/// characters.
const LONGEST: usize = 16 * 1024;

/// Seals and opens page tokens.
pub struct PageToken;

/// Why a token can't be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token was altered, or not sealed with this key.
    #[error("the page token was altered or is no page token")]
    Altered,
    /// The token belongs to a request with another method, query, filter or order.
    #[error("the page token belongs to a request with another method, query, filter or order_by")]
    OtherRequest,
    /// The sort values don't fit the order: a defect of this program.
    #[error("the sort values of a row don't fit the order of its list")]
    WrongValues,
}

impl PageToken {
    /// The key that seals the tokens of a caller: `key` itself for callers without a name, else
    /// the two halves of a key made of it and the name (two blocks of HMAC-SHA256). So a token is
    /// worth nothing to another caller.
    pub fn key_of(key: &[u8; 32], caller: Option<&str>) -> [u8; 32] {
        let Some(caller) = caller else { return *key };
        let mut own = [0; 32];
        for (half, number) in own.chunks_exact_mut(SEAL_BYTES).zip(0_u8..) {
            let name = [b"page token of ", &[number][..], caller.as_bytes()].concat();
            half.copy_from_slice(&sealing::seal(key, &name));
        }
        own
    }

    /// Makes the token of the page after a row. `values` are the row's sort values, one for each
    /// column of the order. `method` is the unique name of the list.
    ///
    /// # Errors
    /// [`TokenError::WrongValues`] if a value isn't of its column's kind, or NULL.
    pub fn seal(
        key: &[u8; 32],
        method: &str,
        filter: &Filter,
        order: &OrderBy,
        values: &[Value],
    ) -> Result<String, TokenError> {
        if values.len() != order.columns().len() {
            return Err(TokenError::WrongValues);
        }
        let mut place = Vec::new();
        for (column, value) in order.columns().iter().zip(values) {
            write(&mut place, column.field.kind, value).ok_or(TokenError::WrongValues)?;
        }
        let request = [method, &filter.to_string(), &order.to_string()];
        Ok(seal(key, request, &place))
    }

    /// Makes the token of the page of a search after its first `offset` rows. `query` is the
    /// canonical text of the search.
    pub fn seal_offset(
        key: &[u8; 32],
        method: &str,
        query: &str,
        filter: &Filter,
        offset: usize,
    ) -> String {
        seal(key, [method, query, &filter.to_string()], &(offset as u64).to_be_bytes())
    }

    /// Parses a search's token and returns its offset.
    ///
    /// # Errors
    /// [`TokenError::Altered`] or [`TokenError::OtherRequest`].
    pub fn open_offset(
        key: &[u8; 32],
        token: &str,
        method: &str,
        query: &str,
        filter: &Filter,
    ) -> Result<usize, TokenError> {
        let place = open(key, token, [method, query, &filter.to_string()])?;
        let offset = <[u8; 8]>::try_from(place).map_err(|_| TokenError::Altered)?;
        usize::try_from(u64::from_be_bytes(offset)).map_err(|_| TokenError::Altered)
    }

    /// Parses a list's token and returns its sort values, one for each column of the order.
    ///
    /// # Errors
    /// [`TokenError::Altered`] or [`TokenError::OtherRequest`].
    pub fn open(
        key: &[u8; 32],
        token: &str,
        method: &str,
        filter: &Filter,
        order: &OrderBy,
    ) -> Result<Vec<Value>, TokenError> {
        let place = open(key, token, [method, &filter.to_string(), &order.to_string()])?;
        let mut values = place.as_slice();
        let read = |column: &super::order::Column| read(&mut values, column.field.kind);
        let read: Option<Vec<Value>> = order.columns().iter().map(read).collect();
        read.filter(|_| values.is_empty()).ok_or(TokenError::Altered)
    }
}

/// Seals a position in the answer to a request.
fn seal(key: &[u8; 32], request: [&str; 3], place: &[u8]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(request_hash(request));
    bytes.extend(place);
    let seal = sealing::seal(key, &bytes);
    bytes.extend_from_slice(&seal);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Opens a token and returns the position in the answer to the request.
fn open(key: &[u8; 32], token: &str, request: [&str; 3]) -> Result<Vec<u8>, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Altered);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Altered)?;
    let (sealed, seal) = bytes.split_last_chunk::<SEAL_BYTES>().ok_or(TokenError::Altered)?;
    // The seal is verified before anything else is parsed.
    if !sealing::is_sealed(key, sealed, seal) {
        return Err(TokenError::Altered);
    }
    let (hash, place) = sealed
        .strip_prefix(&[VERSION])
        .and_then(|rest| rest.split_first_chunk::<HASH_BYTES>())
        .ok_or(TokenError::Altered)?;
    match *hash == request_hash(request) {
        true => Ok(place.to_vec()),
        false => Err(TokenError::OtherRequest),
    }
}

/// The hash of what must stay the same from page to page. Each part follows its length, so that
/// different parts can't make the same input.
fn request_hash(request: [&str; 3]) -> [u8; HASH_BYTES] {
    let mut hash = Sha256::new();
    for part in request {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; HASH_BYTES];
    short.copy_from_slice(&hash.finalize()[..HASH_BYTES]);
    short
}

fn write(bytes: &mut Vec<u8>, kind: Kind, value: &Value) -> Option<()> {
    match (kind, value) {
        (Kind::Text | Kind::LongText | Kind::Enum(_), Value::String(Some(text))) => {
            bytes.extend(u32::try_from(text.len()).ok()?.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        (Kind::Integer | Kind::Micros, Value::BigInt(Some(number))) => {
            bytes.extend(number.to_be_bytes());
        }
        (Kind::Integer | Kind::Micros, Value::Int(Some(number))) => {
            bytes.extend(i64::from(*number).to_be_bytes());
        }
        (Kind::Double, Value::Double(Some(number))) => bytes.extend(number.to_be_bytes()),
        (Kind::Bool, Value::Bool(Some(truth))) => bytes.push(u8::from(*truth)),
        (Kind::Id, Value::Uuid(Some(id))) => bytes.extend(id.as_bytes()),
        (Kind::Time, Value::ChronoDateTimeUtc(Some(time))) => {
            bytes.extend(time.timestamp_micros().to_be_bytes());
        }
        _ => return None,
    }
    Some(())
}

fn read(bytes: &mut &[u8], kind: Kind) -> Option<Value> {
    let value = match kind {
        Kind::Text | Kind::LongText | Kind::Enum(_) => {
            let length = u32::from_be_bytes(take(bytes)?);
            let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
            *bytes = rest;
            str::from_utf8(text).ok()?.into()
        }
        Kind::Integer | Kind::Micros => i64::from_be_bytes(take(bytes)?).into(),
        Kind::Double => f64::from_be_bytes(take(bytes)?).into(),
        Kind::Bool => (take::<1>(bytes)? == [1]).into(),
        Kind::Id => Uuid::from_bytes(take(bytes)?).into(),
        Kind::Time => DateTime::from_timestamp_micros(i64::from_be_bytes(take(bytes)?))?.into(),
        Kind::Json => return None,
    };
    Some(value)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{Field, ResourceFields};

    const KEY: [u8; 32] = [7; 32];

    static FIELDS: ResourceFields = ResourceFields {
        table: "books",
        fields: &[
            sortable("title", Kind::Text),
            sortable("price", Kind::Micros),
            sortable("stock", Kind::Integer),
            sortable("create_time", Kind::Time),
        ],
        default_order: "create_time desc",
    };

    const fn sortable(name: &'static str, kind: Kind) -> Field {
        Field { kind, sortable: true, ..Field::filterable(name, name) }
    }

    fn filter(text: &str) -> Filter {
        Filter::parse(text, &FIELDS).expect(text)
    }

    fn order(text: &str) -> OrderBy {
        OrderBy::parse(text, &FIELDS).expect(text)
    }

    fn id() -> Value {
        Uuid::from_u128(0x1234_5678).into()
    }

    fn values() -> Vec<Value> {
        let time = DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time");
        vec!["Émile, ou De l'éducation".into(), 12_500_000_i64.into(), time.into(), id()]
    }

    fn sealed() -> String {
        let order = order("title, price, create_time");
        PageToken::seal(&KEY, "ListBooks", &filter("stock > 3"), &order, &values())
            .expect("a token")
    }

    fn opened(
        key: u8,
        token: &str,
        method: &str,
        f: &str,
        o: &str,
    ) -> Result<Vec<Value>, TokenError> {
        PageToken::open(&[key; 32], token, method, &filter(f), &order(o))
    }

    #[test]
    fn a_token_returns_its_values() {
        let again = "title asc , price,create_time";
        assert_eq!(opened(7, &sealed(), "ListBooks", " stock>3 ", again), Ok(values()));
    }

    #[test]
    fn a_32_bit_value_comes_back_as_64_bits() {
        let order = order("stock");
        let token = PageToken::seal(&KEY, "m", &filter(""), &order, &[5_i32.into(), id()]);
        let values = PageToken::open(&KEY, &token.expect("a token"), "m", &filter(""), &order);
        assert_eq!(values, Ok(vec![5_i64.into(), id()]));
    }

    #[test]
    fn a_token_of_another_request_is_refused() {
        let token = sealed();
        for (method, filter, order) in [
            ("ListCategories", "stock > 3", "title, price, create_time"),
            ("ListBooks", "stock > 4", "title, price, create_time"),
            ("ListBooks", "", "title, price, create_time"),
            ("ListBooks", "stock > 3", "title, price, create_time desc"),
            ("ListBooks", "stock > 3", ""),
        ] {
            let answer = opened(7, &token, method, filter, order);
            assert_eq!(answer, Err(TokenError::OtherRequest), "{method} {filter} {order}");
        }
    }

    #[test]
    fn an_altered_token_is_refused() {
        let token = sealed();
        let altered =
            |token: &str| opened(7, token, "ListBooks", "stock > 3", "title, price, create_time");
        for position in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(altered(&other), Err(TokenError::Altered), "at {position}");
            assert_eq!(altered(&token[..position]), Err(TokenError::Altered), "up to {position}");
        }
        let longest = "A".repeat(LONGEST);
        for other in [
            "x",
            "=",
            "é",
            &format!("{token}="),
            &format!("{token}A"),
            &longest,
            &format!("{longest}A"),
        ] {
            assert_eq!(altered(other), Err(TokenError::Altered), "{other}");
        }
        let foreign = opened(8, &token, "ListBooks", "stock > 3", "title, price, create_time");
        assert_eq!(foreign, Err(TokenError::Altered));
    }

    #[test]
    fn values_that_do_not_fit_the_order_are_refused() {
        let order = order("title");
        for values in
            [vec![], vec!["a".into()], vec![1_i64.into(), id()], vec![Value::String(None), id()]]
        {
            let answer = PageToken::seal(&KEY, "m", &filter(""), &order, &values);
            assert_eq!(answer, Err(TokenError::WrongValues), "{values:?}");
        }
    }
}
