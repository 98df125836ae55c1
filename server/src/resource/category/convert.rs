//! Categories between the wire and the row, with the checks that the contract's rules don't say.

use bookstore_entity::category::{ActiveModel, Model};
use bookstore_proto::v1::{
    BatchCreateCategoriesRequest, BatchCreateCategoriesResponse, BatchDeleteCategoriesRequest,
    BatchGetCategoriesRequest, BatchGetCategoriesResponse, BatchUpdateCategoriesRequest,
    BatchUpdateCategoriesResponse, Category as Message, CreateCategoryRequest,
    DeleteCategoryRequest, GetCategoryRequest, ListCategoriesRequest, ListCategoriesResponse,
    UpdateCategoryRequest,
};

use super::{
    Category,
    operations::{
        CreateCategories, DeleteCategories, GetCategories, GetCategory, ListCategories,
        UpdateCategories,
    },
};
use crate::{
    rpc::{
        check::Check,
        etag,
        field_mask::Paths,
        list,
        request::{ReadRequest, WriteRequest},
        standard::{self, Standard},
        wire,
    },
    store::{
        Query, StoreError,
        crud::{Change, Insert, Removal},
        list::Listed,
    },
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

impl ReadRequest for GetCategoryRequest {
    type Query = GetCategory;
    type Answer = Message;

    fn query(self, check: &mut Check<'_>) -> Option<GetCategory> {
        check.id(&self.id).map(GetCategory)
    }

    fn answer(_: &GetCategory, row: Model) -> Result<Message, StoreError> {
        Ok(Category::message(row))
    }
}

impl ReadRequest for ListCategoriesRequest {
    type Query = ListCategories;
    type Answer = ListCategoriesResponse;

    fn query(self, check: &mut Check<'_>) -> Option<ListCategories> {
        let fields = list::Fields {
            page_size: self.page_size,
            page_token: self.page_token,
            skip: self.skip,
            filter: self.filter,
            order_by: self.order_by,
            total_size_mode: self.total_size_mode,
        };
        list::query::<Category>(check, ListCategories::NAME, fields).map(ListCategories)
    }

    fn answer(
        query: &ListCategories,
        listed: Listed<Model>,
    ) -> Result<ListCategoriesResponse, StoreError> {
        let page = list::page::<Category>(&query.0, listed)?;
        let list::Page { messages: categories, next_page_token, total_size } = page;
        Ok(ListCategoriesResponse { categories, next_page_token, total_size })
    }
}

impl ReadRequest for BatchGetCategoriesRequest {
    type Query = GetCategories;
    type Answer = BatchGetCategoriesResponse;

    fn query(self, check: &mut Check<'_>) -> Option<GetCategories> {
        let ids = standard::ids(check, &self.ids)?;
        Some(GetCategories { ids, most: check.max_message_size })
    }

    fn answer(
        _: &GetCategories,
        rows: Vec<Model>,
    ) -> Result<BatchGetCategoriesResponse, StoreError> {
        Ok(BatchGetCategoriesResponse { categories: standard::many::<Category>(rows) })
    }
}

impl WriteRequest for CreateCategoryRequest {
    type Operation = CreateCategories;
    type Answer = Message;

    fn operation(self, check: &mut Check<'_>) -> Option<CreateCategories> {
        Some(CreateCategories(vec![insert(check, "", self)?]))
    }

    fn answer(rows: Vec<Model>) -> Message {
        standard::one::<Category>(rows)
    }
}

impl WriteRequest for BatchCreateCategoriesRequest {
    type Operation = CreateCategories;
    type Answer = BatchCreateCategoriesResponse;

    fn operation(self, check: &mut Check<'_>) -> Option<CreateCategories> {
        standard::batch(self.requests, |prefix, request| insert(check, prefix, request))
            .map(CreateCategories)
    }

    fn answer(rows: Vec<Model>) -> BatchCreateCategoriesResponse {
        BatchCreateCategoriesResponse { categories: standard::many::<Category>(rows) }
    }
}

impl WriteRequest for UpdateCategoryRequest {
    type Operation = UpdateCategories;
    type Answer = Message;

    fn operation(self, check: &mut Check<'_>) -> Option<UpdateCategories> {
        Some(UpdateCategories(vec![change(check, "", self)?]))
    }

    fn answer(rows: Vec<Model>) -> Message {
        standard::one::<Category>(rows)
    }
}

impl WriteRequest for BatchUpdateCategoriesRequest {
    type Operation = UpdateCategories;
    type Answer = BatchUpdateCategoriesResponse;

    fn operation(self, check: &mut Check<'_>) -> Option<UpdateCategories> {
        standard::batch(self.requests, |prefix, request| change(check, prefix, request))
            .map(UpdateCategories)
    }

    fn answer(rows: Vec<Model>) -> BatchUpdateCategoriesResponse {
        BatchUpdateCategoriesResponse { categories: standard::many::<Category>(rows) }
    }
}

impl WriteRequest for DeleteCategoryRequest {
    type Operation = DeleteCategories;
    type Answer = ();

    fn operation(self, check: &mut Check<'_>) -> Option<DeleteCategories> {
        Some(DeleteCategories(vec![removal(check, "", self)?]))
    }

    fn answer((): ()) {}
}

impl WriteRequest for BatchDeleteCategoriesRequest {
    type Operation = DeleteCategories;
    type Answer = ();

    fn operation(self, check: &mut Check<'_>) -> Option<DeleteCategories> {
        standard::batch(self.requests, |prefix, request| removal(check, prefix, request))
            .map(DeleteCategories)
    }

    fn answer((): ()) {}
}

fn insert(
    check: &mut Check<'_>,
    prefix: &str,
    request: CreateCategoryRequest,
) -> Option<Insert<ActiveModel>> {
    standard::insert::<Category>(check, prefix, request.category, &request.id)
}

fn change(
    check: &mut Check<'_>,
    prefix: &str,
    request: UpdateCategoryRequest,
) -> Option<Change<ActiveModel>> {
    let UpdateCategoryRequest { category, update_mask, allow_missing } = request;
    standard::change::<Category>(check, prefix, category, update_mask.as_ref(), allow_missing)
}

fn removal(check: &mut Check<'_>, prefix: &str, request: DeleteCategoryRequest) -> Option<Removal> {
    standard::removal(check, prefix, &request.id, &request.etag, request.allow_missing)
}
