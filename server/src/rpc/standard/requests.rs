//! Macros that map the standard requests to queries and operations. The resources differ only in
//! names. A request that needs more has its own code in its `convert.rs`.

/// `Get`: one row by its id.
macro_rules! standard_get {
    ($resource:ty: $request:ty => $query:ident) => {
        impl $crate::rpc::request::ReadRequest for $request {
            type Query = $query;
            type Answer = $crate::rpc::standard::MessageOf<$resource>;

            fn query(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$query> {
                $crate::rpc::standard::id::<$resource>(check, &self.id).map($query)
            }

            fn answer(
                _: &$query,
                row: bookstore_query::crud::Row<$resource>,
            ) -> Result<Self::Answer, bookstore_store::StoreError> {
                Ok(<$resource as $crate::rpc::standard::Standard>::message(row))
            }
        }
    };
}

/// `List`: a page of rows; `by` makes it of rows with what belongs to them, of which the
/// resource is one field.
macro_rules! standard_list {
    ($resource:ty: $request:ty => $query:ident, $response:ident { $many:ident }) => {
        $crate::rpc::standard::standard_list!(
            $resource: $request => $query, $response { $many } by $crate::rpc::list::page::<$resource>
        );
    };
    ($resource:ty: $request:ty => $query:ident, $response:ident { $many:ident $(. $inner:ident)? } by $page:expr) => {
        impl $crate::rpc::request::ReadRequest for $request {
            type Query = $query;
            type Answer = $response;

            fn query(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$query> {
                let Self { page_size, page_token, skip, filter, order_by, total_size_mode } = self;
                let fields = $crate::rpc::list::ListFields {
                    page_size,
                    page_token,
                    skip,
                    filter,
                    order_by,
                    total_size_mode,
                };
                let name = <$query as bookstore_store::Query>::NAME;
                let path = concat!(stringify!($many) $(, ".", stringify!($inner))?);
                let columns = check.columns::<$resource>(path);
                $crate::rpc::list::query::<$resource>(check, name, fields, columns).map($query)
            }

            fn answer(
                query: &$query,
                listed: <$query as bookstore_store::Query>::Output,
            ) -> Result<$response, bookstore_store::StoreError> {
                let page = $page(&query.0, listed)?;
                let $crate::rpc::list::Page { messages, next_page_token, total_size } = page;
                Ok($response { $many: messages, next_page_token, total_size })
            }
        }
    };
}

/// `BatchGet`: rows by their ids.
macro_rules! standard_batch_get {
    ($resource:ty: $request:ty => $query:ident, $response:ident { $many:ident }) => {
        impl $crate::rpc::request::ReadRequest for $request {
            type Query = $query;
            type Answer = $response;

            fn query(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$query> {
                let path = stringify!($many);
                $crate::rpc::standard::ids::<$resource>(check, &self.ids, path).map($query)
            }

            fn answer(
                _: &$query,
                rows: Vec<bookstore_query::crud::Row<$resource>>,
            ) -> Result<$response, bookstore_store::StoreError> {
                Ok($response { $many: $crate::rpc::standard::many::<$resource>(rows) })
            }
        }
    };
}

/// `Create`, alone and as a batch. `$field` is where the request holds the resource.
macro_rules! standard_create {
    ($resource:ty { $field:ident }: $one:ty, $($rest:tt)+) => {
        impl $crate::rpc::standard::BatchEntry for $one {
            type Checked =
                bookstore_query::crud::Insert<bookstore_query::crud::Values<$resource>>;

            fn checked(
                self,
                check: &mut $crate::rpc::check::Check<'_>,
                prefix: &str,
            ) -> Option<Self::Checked> {
                $crate::rpc::standard::insert::<$resource>(check, prefix, self.$field, &self.id)
            }
        }

        $crate::rpc::standard::standard_write!($resource: $one, $($rest)+);
    };
}

/// `Update`, alone and as a batch. `$field` is where the request holds the resource.
macro_rules! standard_update {
    ($resource:ty { $field:ident }: $one:ty, $($rest:tt)+) => {
        impl $crate::rpc::standard::BatchEntry for $one {
            type Checked =
                bookstore_query::crud::Change<bookstore_query::crud::Values<$resource>>;

            fn checked(
                self,
                check: &mut $crate::rpc::check::Check<'_>,
                prefix: &str,
            ) -> Option<Self::Checked> {
                let Self { $field, update_mask, allow_missing } = self;
                let mask = update_mask.as_ref();
                $crate::rpc::standard::change::<$resource>(
                    check,
                    prefix,
                    $field,
                    mask,
                    allow_missing,
                )
            }
        }

        $crate::rpc::standard::standard_write!($resource: $one, $($rest)+);
    };
}

/// A write of rows, alone and as a batch; the one request is an [`BatchEntry`](super::BatchEntry) of the
/// other, which the resource implements where `standard_create` or `standard_update` doesn't.
macro_rules! standard_write {
    ($resource:ty: $one:ty, $batch:ty => $operation:ident, $response:ident { $many:ident }) => {
        impl $crate::rpc::request::WriteRequest for $one {
            type Operation = $operation;
            type Answer = $crate::rpc::standard::MessageOf<$resource>;

            fn operation(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$operation> {
                $crate::rpc::standard::alone(check, self).map($operation)
            }

            fn answer(rows: Vec<bookstore_query::crud::Row<$resource>>) -> Self::Answer {
                $crate::rpc::standard::one::<$resource>(rows)
            }
        }

        impl $crate::rpc::request::WriteRequest for $batch {
            type Operation = $operation;
            type Answer = $response;

            fn operation(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$operation> {
                $crate::rpc::standard::batch(check, self.requests).map($operation)
            }

            fn answer(rows: Vec<bookstore_query::crud::Row<$resource>>) -> $response {
                $response { $many: $crate::rpc::standard::many::<$resource>(rows) }
            }
        }
    };
}

/// `Delete`, alone and as a batch; `force` where the request has that field.
macro_rules! standard_delete {
    ($one:ty, $batch:ty => $operation:ident $(, $force:ident)?) => {
        impl $crate::rpc::standard::BatchEntry for $one {
            type Checked = bookstore_query::crud::Removal;

            fn checked(
                self,
                check: &mut $crate::rpc::check::Check<'_>,
                prefix: &str,
            ) -> Option<Self::Checked> {
                let Self { id, etag, allow_missing, .. } = &self;
                let removal =
                    $crate::rpc::standard::removal(check, prefix, id, etag, *allow_missing)?;
                Some(bookstore_query::crud::Removal { $($force: self.$force,)? ..removal })
            }
        }

        impl $crate::rpc::request::WriteRequest for $one {
            type Operation = $operation;
            type Answer = ();

            fn operation(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$operation> {
                $crate::rpc::standard::alone(check, self).map($operation)
            }

            fn answer((): ()) {}
        }

        impl $crate::rpc::request::WriteRequest for $batch {
            type Operation = $operation;
            type Answer = ();

            fn operation(self, check: &mut $crate::rpc::check::Check<'_>) -> Option<$operation> {
                $crate::rpc::standard::batch(check, self.requests).map($operation)
            }

            fn answer((): ()) {}
        }
    };
}

pub(crate) use standard_batch_get;
pub(crate) use standard_create;
pub(crate) use standard_delete;
pub(crate) use standard_get;
pub(crate) use standard_list;
pub(crate) use standard_update;
pub(crate) use standard_write;
