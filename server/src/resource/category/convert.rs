//! Converts categories between messages and rows, with the checks beyond the contract's rules.

use bookstore_entity::category::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreateCategoriesRequest, BatchCreateCategoriesResponse, BatchDeleteCategoriesRequest,
    BatchGetCategoriesRequest, BatchGetCategoriesResponse, BatchUpdateCategoriesRequest,
    BatchUpdateCategoriesResponse, Category as Message, CategoryStats, CreateCategoryRequest,
    DeleteCategoryRequest, GetCategoryRequest, GetCategoryStatsRequest, GetCategoryStatsResponse,
    ListCategoriesRequest, ListCategoriesResponse, UpdateCategoryRequest,
};
use bookstore_query::list::{ListQuery, Listed};
use bookstore_store::StoreError;

use super::{
    Category,
    operations::{
        CreateCategories, DeleteCategories, Figure, GetCategories, GetCategory, GetCategoryStats,
        ListCategories, UpdateCategories,
    },
};
use crate::rpc::{
    check::Check,
    etag, list,
    paths::Paths,
    standard::{
        Standard, standard_batch_get, standard_create, standard_delete, standard_get,
        standard_list, standard_update,
    },
    wire,
};

impl Standard for Category {
    type Message = Message;

    fn message(row: Model) -> Message {
        Message {
            id: row.id.to_string(),
            etag: etag::write(row.id, row.version, row.created_at),
            name: row.name,
            description: row.description,
            create_time: wire::timestamp(row.created_at),
            update_time: wire::timestamp(row.updated_at),
        }
    }

    fn key(category: &Message) -> &str {
        &category.id
    }

    fn etag(category: &Message) -> &str {
        &category.etag
    }

    fn values(_: &mut Check<'_>, _: &str, category: Message, mask: &Paths) -> ActiveModel {
        ActiveModel {
            name: mask.pick("name", category.name),
            description: mask.pick("description", category.description),
            ..Default::default()
        }
    }
}

standard_get!(Category: GetCategoryRequest => GetCategory);
standard_list!(Category: ListCategoriesRequest => ListCategories, ListCategoriesResponse { categories });
standard_list!(Category: GetCategoryStatsRequest => GetCategoryStats, GetCategoryStatsResponse { stats.category } by stats);
standard_batch_get!(Category: BatchGetCategoriesRequest => GetCategories, BatchGetCategoriesResponse { categories });
standard_create!(Category { category }: CreateCategoryRequest, BatchCreateCategoriesRequest => CreateCategories, BatchCreateCategoriesResponse { categories });
standard_update!(Category { category }: UpdateCategoryRequest, BatchUpdateCategoriesRequest => UpdateCategories, BatchUpdateCategoriesResponse { categories });
standard_delete!(DeleteCategoryRequest, BatchDeleteCategoriesRequest => DeleteCategories);

fn stats(
    query: &ListQuery,
    listed: Listed<(Model, Vec<Figure>)>,
) -> Result<list::Page<CategoryStats>, StoreError> {
    list::page_of::<Category, _, _>(query, listed, with_figures)
}

fn with_figures(category: Model, figures: Vec<Figure>) -> CategoryStats {
    CategoryStats {
        category: Some(Category::message(category)),
        book_count: figures.iter().map(|figure| figure.count).sum(),
        mean_prices: figures
            .into_iter()
            .map(|figure| wire::money(figure.mean_micros, figure.currency_code))
            .collect(),
    }
}
