//! Macros for queries and operations that only call one function: each is one line and gets the
//! name that spans and metrics show.

/// `ListBooks(ListQuery) -> Listed<Model> = list::list::<Book>;` makes a [`Query`](super::Query) of
/// that name. For a query of one row by its id, two more functions let it share statements:
/// `GetBook(One) -> Model = crud::get::<Book>, crud::row_by_id::<Book>, crud::of_row::<Book>;`.
macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident($input:ty) -> $output:ty = $fetch:path $(, $rows_by_id:path, $of_rows:path)?;)+) => {$(
        $(#[$doc])*
        pub struct $name(pub $input);

        impl bookstore_store::Query for $name {
            const NAME: &'static str = stringify!($name);
            const SCANS: bool = <$input as bookstore_query::QueryInput>::SCANS;
            type Output = $output;

            async fn fetch(
                &self,
                connection: &bookstore_store::Connection,
            ) -> Result<$output, bookstore_store::StoreError> {
                $fetch(connection, &self.0).await
            }
            $(
                fn rows_by_id(&self) -> Option<bookstore_store::RowsById<'_>> {
                    Some($rows_by_id(&self.0))
                }

                fn of_rows(
                    &self,
                    rows: &bookstore_store::SharedRows,
                ) -> Result<$output, bookstore_store::StoreError> {
                    $of_rows(&self.0, rows)
                }
            )?
        }
    )+};
}

/// `CreateBooks(Vec<…>) -> Vec<Model> = crud::insert::<Book>, crud::checks_of_insert::<Book>;`
/// makes an [`Operation`](super::Operation) of that name, with the constraint checks that explain its errors.
/// A fourth function is its `single_statement`: `…, crud::checks_of_insert::<Book>, crud::single_insert::<Book>;`.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident($input:ty) -> $output:ty = $apply:path, $checks:path $(, $single:path)?;)+) => {$(
        $(#[$doc])*
        pub struct $name(pub $input);

        impl bookstore_store::Operation for $name {
            const NAME: &'static str = stringify!($name);
            type Output = $output;

            async fn apply(
                &self,
                connection: &bookstore_store::Connection,
            ) -> Result<$output, bookstore_store::StoreError> {
                $apply(connection, &self.0).await
            }

            fn constraint_checks(&self) -> Vec<bookstore_store::ConstraintCheck> {
                $checks(&self.0)
            }
            $(
                fn single_statement(&self, backend: sea_orm::DbBackend) -> Option<usize> {
                    $single(&self.0, backend)
                }
            )?
        }
    )+};
}

pub(crate) use operations;
pub(crate) use queries;
