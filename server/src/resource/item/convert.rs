//! Converts items between messages and rows, with the checks beyond the contract's rules.

use bookstore_entity::item::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreateItemsRequest, BatchCreateItemsResponse, BatchDeleteItemsRequest,
    BatchGetItemsRequest, BatchGetItemsResponse, BatchUpdateItemsRequest, BatchUpdateItemsResponse,
    CreateItemRequest, DeleteItemRequest, GetItemRequest, Item as Message, ListItemsRequest,
    ListItemsResponse, UpdateItemRequest,
};

use super::{
    Item,
    operations::{CreateItems, DeleteItems, GetItem, GetItems, ListItems, UpdateItems},
};
use crate::rpc::{
    check::Check,
    etag,
    paths::Paths,
    standard::{
        Standard, standard_batch_get, standard_create, standard_delete, standard_get,
        standard_list, standard_update,
    },
    wire,
};

impl Standard for Item {
    type Message = Message;

    fn message(row: Model) -> Message {
        Message {
            id: row.id.to_string(),
            etag: etag::write(row.id, row.version, row.created_at),
            name: row.name,
            status: row.status,
            payload: wire::structure(row.payload),
            create_time: wire::timestamp(row.created_at),
            update_time: wire::timestamp(row.updated_at),
        }
    }

    fn key(item: &Message) -> &str {
        &item.id
    }

    fn etag(item: &Message) -> &str {
        &item.etag
    }

    fn values(check: &mut Check<'_>, path: &str, item: Message, mask: &Paths) -> ActiveModel {
        let payload = match mask.contains("payload") {
            true => wire::json(check, &format!("{path}.payload"), item.payload),
            false => Default::default(),
        };
        ActiveModel {
            name: mask.pick("name", item.name),
            status: mask.pick("status", item.status),
            payload: mask.pick("payload", payload),
            ..Default::default()
        }
    }
}

standard_get!(Item: GetItemRequest => GetItem);
standard_list!(Item: ListItemsRequest => ListItems, ListItemsResponse { items });
standard_batch_get!(Item: BatchGetItemsRequest => GetItems, BatchGetItemsResponse { items });
standard_create!(Item { item }: CreateItemRequest, BatchCreateItemsRequest => CreateItems, BatchCreateItemsResponse { items });
standard_update!(Item { item }: UpdateItemRequest, BatchUpdateItemsRequest => UpdateItems, BatchUpdateItemsResponse { items });
standard_delete!(DeleteItemRequest, BatchDeleteItemsRequest => DeleteItems);
