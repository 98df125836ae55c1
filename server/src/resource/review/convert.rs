//! Converts reviews between messages and rows, with the checks beyond the contract's rules.

use bookstore_entity::review::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreateReviewsRequest, BatchCreateReviewsResponse, BatchDeleteReviewsRequest,
    BatchGetReviewsRequest, BatchGetReviewsResponse, BatchUpdateReviewsRequest,
    BatchUpdateReviewsResponse, CreateReviewRequest, DeleteReviewRequest, GetReviewRequest,
    ListReviewsRequest, ListReviewsResponse, Review as Message, UpdateReviewRequest,
};

use super::{
    Review,
    operations::{CreateReviews, DeleteReviews, GetReview, GetReviews, ListReviews, UpdateReviews},
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

impl Standard for Review {
    type Message = Message;

    fn message(row: Model) -> Message {
        Message {
            id: row.id.to_string(),
            etag: etag::write(row.id, row.version, row.created_at),
            user_id: row.user_id.to_string(),
            book_id: row.book_id.to_string(),
            rating: row.rating,
            comment: row.comment,
            create_time: wire::timestamp(row.created_at),
            update_time: wire::timestamp(row.updated_at),
        }
    }

    fn key(review: &Message) -> &str {
        &review.id
    }

    fn etag(review: &Message) -> &str {
        &review.etag
    }

    fn values(check: &mut Check<'_>, _: &str, review: Message, mask: &Paths) -> ActiveModel {
        // A malformed id was refused.
        let user_id = check.id(&review.user_id).unwrap_or_default();
        let book_id = check.id(&review.book_id).unwrap_or_default();
        ActiveModel {
            user_id: mask.pick("user_id", user_id),
            book_id: mask.pick("book_id", book_id),
            rating: mask.pick("rating", review.rating),
            comment: mask.pick("comment", review.comment),
            ..Default::default()
        }
    }
}

standard_get!(Review: GetReviewRequest => GetReview);
standard_list!(Review: ListReviewsRequest => ListReviews, ListReviewsResponse { reviews });
standard_batch_get!(Review: BatchGetReviewsRequest => GetReviews, BatchGetReviewsResponse { reviews });
standard_create!(Review { review }: CreateReviewRequest, BatchCreateReviewsRequest => CreateReviews, BatchCreateReviewsResponse { reviews });
standard_update!(Review { review }: UpdateReviewRequest, BatchUpdateReviewsRequest => UpdateReviews, BatchUpdateReviewsResponse { reviews });
standard_delete!(DeleteReviewRequest, BatchDeleteReviewsRequest => DeleteReviews);
