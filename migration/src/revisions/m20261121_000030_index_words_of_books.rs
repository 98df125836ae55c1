//! The words of books, for the search: with their places in a column on PostgreSQL, in an FTS5
//! table on SQLite. Both are kept by the database, so that rows written by hand are found too.

use bookstore_entity::words;

use crate::revision::{Revision, postgres, sqlite};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new(
        "m20261121_000030_index_words_of_books",
        "index the words of books for the search",
    )
    .after("m20261121_000020_create_idempotency_keys")
    .up([postgres(up_on_postgres()), sqlite(up_on_sqlite())])
    .down([
        postgres(
            r#"
                ALTER TABLE "books" DROP COLUMN "words";
                DROP FUNCTION "book_words";
                "#,
        )
        .derived(),
        sqlite(
            r#"
                DROP TRIGGER "books_words_insert";
                DROP TRIGGER "books_words_update";
                DROP TRIGGER "books_words_delete";
                DROP TABLE "book_words";
                DROP TABLE "book_word_keys";
                "#,
        )
        .derived(),
    ])
}

fn up_on_postgres() -> String {
    let function = function();
    format!(
        r#"
        CREATE {function};
        ALTER TABLE "books" ADD COLUMN "words" tsvector
            GENERATED ALWAYS AS ("book_words"("title", "author", "description")) STORED;
        CREATE INDEX "books_words_idx" ON "books" USING gin ("words");
        "#
    )
}

/// One function, for a restored dump fills the column before any schema is on the search path,
/// where a function finds only what PostgreSQL brings. It splits texts by itself since
/// PostgreSQL's parser goes by the locale, and knows addresses and signed numbers besides.
///
/// - Fields begin at places so far apart that no phrase runs from one into the next; a
///   description has at most 5,000 words, and a place is at most 16,383.
/// - A word is cut at a length that the search doesn't look for, for longer ones would be
///   refused.
/// - `translate` takes long for a long list of characters, so it is asked only where there are
///   any of them.
pub(super) fn function() -> String {
    let escape = |character: char| format!("\\U{:08x}", u32::from(character));
    let ranges = words::ranges().map(|(first, last)| format!("{}-{}", escape(first), escape(last)));
    let characters: String = ranges.collect();
    let capitals: String = words::FOLDS.iter().map(|(from, _)| *from).collect();
    let fold = |(from, to): &(&str, &str)| {
        format!(
            r#"
                            IF content ~ '[{from}]' COLLATE "C" THEN
                                content := translate(content, '{from}', '{to}');
                            END IF;"#
        )
    };
    let folds: String = words::FOLDS.iter().map(fold).collect();
    format!(
        r#"FUNCTION "book_words" (title text, author text, description text)
            RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                contents text[] := ARRAY[title, author, coalesce(description, '')];
                content text;
            BEGIN
                FOR field IN 1..3 LOOP
                    content := lower(contents[field] COLLATE "C");
                    IF octet_length(content) = length(content) THEN
                        content := regexp_replace(content, '[^0-9a-z]+' COLLATE "C", ' ', 'g');
                    ELSE
                        IF content ~ '[{capitals}]' COLLATE "C" THEN{folds}
                        END IF;
                        content := regexp_replace(content, '[^{characters}]+' COLLATE "C", ' ', 'g');
                    END IF;
                    contents[field] := content;
                END LOOP;
                RETURN (
                    SELECT string_agg(
                        '''' || left(word, 501) || ''':' || place + start || weight, ' ')
                    FROM unnest(contents, ARRAY['A', 'B', 'C'], ARRAY[0, 1000, 2000])
                            AS field (content, weight, start),
                        string_to_table(field.content, ' ') WITH ORDINALITY AS word (word, place)
                    WHERE word <> ''
                )::tsvector;
            END
            $$"#
    )
}

/// The FTS5 table holds no texts, only where their words stand; so what goes has to be named by
/// what it was. Its rows have numbers and not the rowids of books, which a VACUUM changes. A
/// number is never given twice: REPLACE deletes a book without a trigger and leaves its number
/// in the index, where it leads to no book.
fn up_on_sqlite() -> String {
    let separators: String =
        words::SEPARATORS.iter().flat_map(|(first, last)| *first..=*last).collect();
    format!(
        r#"
        CREATE TABLE "book_word_keys" (
            "number" integer NOT NULL,
            "book_id" {{uuid}} NOT NULL,
            CONSTRAINT "book_word_keys_pkey" PRIMARY KEY ("number"),
            CONSTRAINT "book_word_keys_book_id_key" UNIQUE ("book_id")
        );
        CREATE VIRTUAL TABLE "book_words" USING fts5 (
            "title", "author", "description", content = '',
            tokenize = "unicode61 remove_diacritics 0 categories 'L* N* Mn Mc Co' separators '{separators}'"
        );
        INSERT INTO "book_word_keys" ("number", "book_id")
            SELECT row_number() OVER (ORDER BY "id"), "id" FROM "books";
        INSERT INTO "book_words" ("rowid", "title", "author", "description")
            SELECT "number", "title", "author", "description"
            FROM "books" JOIN "book_word_keys" ON "book_id" = "id" ORDER BY "number";
        CREATE TRIGGER "books_words_insert" AFTER INSERT ON "books" BEGIN
            DELETE FROM "book_word_keys" WHERE "book_id" = new."id";
            INSERT INTO "book_word_keys" ("number", "book_id")
                SELECT coalesce(max("id"), 0) + 1, new."id" FROM "book_words_docsize";
            INSERT INTO "book_words" ("rowid", "title", "author", "description")
                SELECT "number", new."title", new."author", new."description"
                FROM "book_word_keys" WHERE "book_id" = new."id";
        END;
        CREATE TRIGGER "books_words_update" AFTER UPDATE OF "id", "title", "author", "description" ON "books"
        WHEN (old."id", old."title", old."author", old."description")
            IS NOT (new."id", new."title", new."author", new."description") BEGIN
            INSERT INTO "book_words" ("book_words", "rowid", "title", "author", "description")
                SELECT 'delete', "number", old."title", old."author", old."description"
                FROM "book_word_keys" WHERE "book_id" = old."id";
            UPDATE "book_word_keys" SET "book_id" = new."id" WHERE "book_id" = old."id";
            INSERT INTO "book_words" ("rowid", "title", "author", "description")
                SELECT "number", new."title", new."author", new."description"
                FROM "book_word_keys" WHERE "book_id" = new."id";
        END;
        CREATE TRIGGER "books_words_delete" AFTER DELETE ON "books" BEGIN
            INSERT INTO "book_words" ("book_words", "rowid", "title", "author", "description")
                SELECT 'delete', "number", old."title", old."author", old."description"
                FROM "book_word_keys" WHERE "book_id" = old."id";
            DELETE FROM "book_word_keys" WHERE "book_id" = old."id";
        END;
        "#
    )
}
