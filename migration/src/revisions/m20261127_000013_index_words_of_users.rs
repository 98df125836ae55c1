//! Indexes the words of users' full names, for the filter `full_name:ada` of lists: a GIN index on
//! PostgreSQL, an FTS5 table on SQLite. The database maintains both, so that rows written by SQL and by
//! older programs are found too.

use bookstore_entity::words;

use super::m20261127_000011_find_words_without_accents::folded;
use crate::revision::{Revision, postgres, sqlite};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261127_000013_index_words_of_users", "index the words of users' names")
        .after("m20261127_000012_make_names_and_addresses_optional")
        .up([
            postgres(format!("CREATE {}", function())),
            postgres(
                r#"CREATE INDEX CONCURRENTLY "users_user_words_idx" ON "users" USING gin ("user_words"("full_name"))"#,
            )
            .outside_transaction(),
            // The planner has no statistics of the words before (PostgreSQL, ANALYZE).
            postgres(r#"ANALYZE "users""#),
            sqlite(up_on_sqlite()),
        ])
        .down([
            postgres("SELECT 1"),
            postgres(r#"DROP INDEX CONCURRENTLY "users_user_words_idx""#).outside_transaction(),
            postgres(r#"DROP FUNCTION "user_words""#),
            sqlite(
                r#"
                DROP TRIGGER "users_words_insert";
                DROP TRIGGER "users_words_update";
                DROP TRIGGER "users_words_delete";
                DROP TABLE "user_words";
                DROP TABLE "user_word_keys";
                "#,
            )
            .derived(),
        ])
}

/// Splits a name as `book_words` splits a title. A restored dump builds the index while no schema is on
/// the search path, so the function calls no other one of this schema. Its cost is the measured one,
/// without which the planner would compute it for each row of a list in another order.
fn function() -> String {
    let folded = folded();
    format!(
        r#"FUNCTION "user_words" (full_name text)
            RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
            DECLARE
                content text := lower(full_name COLLATE "C");
            BEGIN
                {folded}
                RETURN coalesce((
                    SELECT string_agg('''' || word || ''':' || place, ' ')
                    FROM string_to_table(content, ' ') WITH ORDINALITY AS word (word, place)
                    WHERE word <> ''
                ), '')::tsvector;
            END
            $$"#
    )
}

/// The same form as the index of books: the FTS5 table has no texts, and its rows have numbers of their
/// own, because VACUUM changes rowids.
fn up_on_sqlite() -> String {
    let separators: String =
        words::SEPARATORS.iter().flat_map(|(first, last)| *first..=*last).collect();
    format!(
        r#"
        CREATE TABLE "user_word_keys" (
            "number" integer NOT NULL,
            "user_id" {{uuid}} NOT NULL,
            CONSTRAINT "user_word_keys_pkey" PRIMARY KEY ("number"),
            CONSTRAINT "user_word_keys_user_id_key" UNIQUE ("user_id")
        );
        CREATE VIRTUAL TABLE "user_words" USING fts5 (
            "full_name", content = '',
            tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Mn Mc Co' separators '{separators}'"
        );
        INSERT INTO "user_word_keys" ("number", "user_id")
            SELECT row_number() OVER (ORDER BY "id"), "id" FROM "users";
        INSERT INTO "user_words" ("rowid", "full_name")
            SELECT "number", "full_name"
            FROM "users" JOIN "user_word_keys" ON "user_id" = "id" ORDER BY "number";
        CREATE TRIGGER "users_words_insert" AFTER INSERT ON "users" BEGIN
            DELETE FROM "user_word_keys" WHERE "user_id" = new."id";
            INSERT INTO "user_word_keys" ("number", "user_id")
                SELECT coalesce(max("id"), 0) + 1, new."id" FROM "user_words_docsize";
            INSERT INTO "user_words" ("rowid", "full_name")
                SELECT "number", new."full_name" FROM "user_word_keys" WHERE "user_id" = new."id";
        END;
        CREATE TRIGGER "users_words_update" AFTER UPDATE OF "id", "full_name" ON "users"
        WHEN (old."id", old."full_name") IS NOT (new."id", new."full_name") BEGIN
            INSERT INTO "user_words" ("user_words", "rowid", "full_name")
                SELECT 'delete', "number", old."full_name"
                FROM "user_word_keys" WHERE "user_id" = old."id";
            UPDATE "user_word_keys" SET "user_id" = new."id" WHERE "user_id" = old."id";
            INSERT INTO "user_words" ("rowid", "full_name")
                SELECT "number", new."full_name" FROM "user_word_keys" WHERE "user_id" = new."id";
        END;
        CREATE TRIGGER "users_words_delete" AFTER DELETE ON "users" BEGIN
            INSERT INTO "user_words" ("user_words", "rowid", "full_name")
                SELECT 'delete', "number", old."full_name"
                FROM "user_word_keys" WHERE "user_id" = old."id";
            DELETE FROM "user_word_keys" WHERE "user_id" = old."id";
        END;
        "#
    )
}
