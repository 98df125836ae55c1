//! Functions, triggers and tables without an entity: those of the search, and one that reads the
//! histories of failovers.

use super::On;
use crate::words;

/// An object other than an entity's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `function`, `table`, `trigger`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The statement that makes it, with `{words}` for the dialects.
    pub create: String,
}

/// The functions, which tables may name.
pub fn functions(on: On) -> Vec<Object> {
    let function = |name, create| Object { kind: "function", name, create };
    match on {
        On::Postgres => vec![
            function("book_words", book_words()),
            function("user_words", user_words()),
            function("bookstore_timeline_history", TIMELINE_HISTORY.to_owned()),
        ],
        On::Sqlite => Vec::new(),
    }
}

/// What is made after the tables of the entities.
pub fn objects(on: On) -> Vec<Object> {
    if on == On::Postgres {
        return Vec::new();
    }
    let object = |kind, name, create: &str| Object { kind, name, create: create.trim().to_owned() };
    let separators: String =
        words::SEPARATORS.iter().flat_map(|(first, last)| *first..=*last).collect();
    let index = |create: &str| create.replace("SEPARATORS", &separators);
    vec![
        object("table", "book_word_keys", BOOK_WORD_KEYS),
        object("table", "book_words", &index(BOOK_WORDS)),
        object("trigger", "books_words_insert", BOOKS_WORDS_INSERT),
        object("trigger", "books_words_update", BOOKS_WORDS_UPDATE),
        object("trigger", "books_words_delete", BOOKS_WORDS_DELETE),
        object("table", "user_word_keys", USER_WORD_KEYS),
        object("table", "user_words", &index(USER_WORDS)),
        object("trigger", "users_words_insert", USERS_WORDS_INSERT),
        object("trigger", "users_words_update", USERS_WORDS_UPDATE),
        object("trigger", "users_words_delete", USERS_WORDS_DELETE),
    ]
}

/// Splits the texts of a book into words with their places.
fn book_words() -> String {
    let folded = folded();
    format!(
        r#"CREATE FUNCTION "book_words" (title text, author text, description text)
    RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        contents text[] := ARRAY[title, author, coalesce(description, '')];
        content text;
    BEGIN
        FOR field IN 1..3 LOOP
            content := lower(contents[field] COLLATE "C");
            {folded}
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

/// Splits the full name of a user into words with their places.
fn user_words() -> String {
    let folded = folded();
    format!(
        r#"CREATE FUNCTION "user_words" (full_name text)
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

/// Folds the variable `content` and leaves its words, with spaces between them.
fn folded() -> String {
    let escape = |character: char| format!("\\U{:08x}", u32::from(character));
    let ranges = words::ranges().map(|(first, last)| format!("{}-{}", escape(first), escape(last)));
    let characters: String = ranges.collect();
    let capitals: String = words::FOLDS.iter().map(|(from, _)| *from).collect();
    let replace = |(from, to): &(&str, &str)| {
        format!(
            r#"
                IF content ~ '[{from}]' COLLATE "C" THEN
                    content := translate(content, '{from}', '{to}');
                END IF;"#
        )
    };
    let folds: String = words::FOLDS.iter().map(replace).collect();
    let accents: String = words::ACCENTS.iter().map(replace).collect();
    let marks: String = words::MARKS.chars().map(escape).collect();
    let removed = words::MARKS;
    format!(
        r#"IF octet_length(content) = length(content) THEN
                content := regexp_replace(content, '[^0-9a-z]+' COLLATE "C", ' ', 'g');
            ELSE
                IF content ~ '[{capitals}]' COLLATE "C" THEN{folds}
                END IF;
                content := regexp_replace(content, '[^{characters}]+' COLLATE "C", ' ', 'g');{accents}
                IF content ~ '[{marks}]' COLLATE "C" THEN
                    content := translate(content, '{removed}', '');
                END IF;
            END IF;"#
    )
}

const TIMELINE_HISTORY: &str = r#"CREATE FUNCTION "bookstore_timeline_history" (timeline bigint)
    RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RETURN pg_read_file(
            format('pg_wal/%s.history', lpad(upper(to_hex(timeline)), 8, '0')),
            0, 1048576, true);
    EXCEPTION WHEN insufficient_privilege THEN
        RETURN NULL;
    END
    $$"#;

const BOOK_WORD_KEYS: &str = r#"
CREATE TABLE "book_word_keys" (
    "number" integer NOT NULL,
    "book_id" {uuid} NOT NULL,
    CONSTRAINT "book_word_keys_pkey" PRIMARY KEY ("number"),
    CONSTRAINT "book_word_keys_book_id_key" UNIQUE ("book_id")
)"#;

const BOOK_WORDS: &str = r#"
CREATE VIRTUAL TABLE "book_words" USING fts5 (
    "title", "author", "description", content = '',
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Mn Mc Co' separators 'SEPARATORS'"
)"#;

const BOOKS_WORDS_INSERT: &str = r#"
CREATE TRIGGER "books_words_insert" AFTER INSERT ON "books" BEGIN
    DELETE FROM "book_word_keys" WHERE "book_id" = new."id";
    INSERT INTO "book_word_keys" ("number", "book_id")
        SELECT coalesce(max("id"), 0) + 1, new."id" FROM "book_words_docsize";
    INSERT INTO "book_words" ("rowid", "title", "author", "description")
        SELECT "number", new."title", new."author", new."description"
        FROM "book_word_keys" WHERE "book_id" = new."id";
END"#;

const BOOKS_WORDS_UPDATE: &str = r#"
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
END"#;

const BOOKS_WORDS_DELETE: &str = r#"
CREATE TRIGGER "books_words_delete" AFTER DELETE ON "books" BEGIN
    INSERT INTO "book_words" ("book_words", "rowid", "title", "author", "description")
        SELECT 'delete', "number", old."title", old."author", old."description"
        FROM "book_word_keys" WHERE "book_id" = old."id";
    DELETE FROM "book_word_keys" WHERE "book_id" = old."id";
END"#;

const USER_WORD_KEYS: &str = r#"
CREATE TABLE "user_word_keys" (
    "number" integer NOT NULL,
    "user_id" {uuid} NOT NULL,
    CONSTRAINT "user_word_keys_pkey" PRIMARY KEY ("number"),
    CONSTRAINT "user_word_keys_user_id_key" UNIQUE ("user_id")
)"#;

const USER_WORDS: &str = r#"
CREATE VIRTUAL TABLE "user_words" USING fts5 (
    "full_name", content = '',
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Mn Mc Co' separators 'SEPARATORS'"
)"#;

const USERS_WORDS_INSERT: &str = r#"
CREATE TRIGGER "users_words_insert" AFTER INSERT ON "users" BEGIN
    DELETE FROM "user_word_keys" WHERE "user_id" = new."id";
    INSERT INTO "user_word_keys" ("number", "user_id")
        SELECT coalesce(max("id"), 0) + 1, new."id" FROM "user_words_docsize";
    INSERT INTO "user_words" ("rowid", "full_name")
        SELECT "number", new."full_name" FROM "user_word_keys" WHERE "user_id" = new."id";
END"#;

const USERS_WORDS_UPDATE: &str = r#"
CREATE TRIGGER "users_words_update" AFTER UPDATE OF "id", "full_name" ON "users"
WHEN (old."id", old."full_name") IS NOT (new."id", new."full_name") BEGIN
    INSERT INTO "user_words" ("user_words", "rowid", "full_name")
        SELECT 'delete', "number", old."full_name"
        FROM "user_word_keys" WHERE "user_id" = old."id";
    UPDATE "user_word_keys" SET "user_id" = new."id" WHERE "user_id" = old."id";
    INSERT INTO "user_words" ("rowid", "full_name")
        SELECT "number", new."full_name" FROM "user_word_keys" WHERE "user_id" = new."id";
END"#;

const USERS_WORDS_DELETE: &str = r#"
CREATE TRIGGER "users_words_delete" AFTER DELETE ON "users" BEGIN
    INSERT INTO "user_words" ("user_words", "rowid", "full_name")
        SELECT 'delete', "number", old."full_name"
        FROM "user_word_keys" WHERE "user_id" = old."id";
    DELETE FROM "user_word_keys" WHERE "user_id" = old."id";
END"#;
