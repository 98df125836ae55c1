//! Converts posts between messages and rows, with the checks beyond the contract's rules.

use bookstore_entity::post::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreatePostsRequest, BatchCreatePostsResponse, BatchDeletePostsRequest,
    BatchGetPostsRequest, BatchGetPostsResponse, BatchUpdatePostsRequest, BatchUpdatePostsResponse,
    CreatePostRequest, DeletePostRequest, GetPostRequest, ListPostsRequest, ListPostsResponse,
    Post as Message, UpdatePostRequest,
};

use super::{
    Post,
    operations::{CreatePosts, DeletePosts, GetPost, GetPosts, ListPosts, UpdatePosts},
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

impl Standard for Post {
    type Message = Message;

    fn message(row: Model) -> Message {
        Message {
            id: row.id.to_string(),
            etag: etag::write(row.id, row.version, row.created_at),
            title: row.title,
            content: row.content,
            author_id: row.author_id.to_string(),
            create_time: wire::timestamp(row.created_at),
            update_time: wire::timestamp(row.updated_at),
        }
    }

    fn key(post: &Message) -> &str {
        &post.id
    }

    fn etag(post: &Message) -> &str {
        &post.etag
    }

    fn values(check: &mut Check<'_>, _: &str, post: Message, mask: &Paths) -> ActiveModel {
        // A malformed id was refused.
        let author_id = check.id(&post.author_id).unwrap_or_default();
        ActiveModel {
            title: mask.pick("title", post.title),
            content: mask.pick("content", post.content),
            author_id: mask.pick("author_id", author_id),
            ..Default::default()
        }
    }
}

standard_get!(Post: GetPostRequest => GetPost);
standard_list!(Post: ListPostsRequest => ListPosts, ListPostsResponse { posts });
standard_batch_get!(Post: BatchGetPostsRequest => GetPosts, BatchGetPostsResponse { posts });
standard_create!(Post { post }: CreatePostRequest, BatchCreatePostsRequest => CreatePosts, BatchCreatePostsResponse { posts });
standard_update!(Post { post }: UpdatePostRequest, BatchUpdatePostsRequest => UpdatePosts, BatchUpdatePostsResponse { posts });
standard_delete!(DeletePostRequest, BatchDeletePostsRequest => DeletePosts);
