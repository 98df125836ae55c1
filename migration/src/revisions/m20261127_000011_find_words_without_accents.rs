//! Indexes the words of books without their accents, so that `etude` finds `étude`. SQLite's index is
//! built anew. On PostgreSQL only the books with a character beyond ASCII are indexed anew, in batches.

use bookstore_entity::words;

use super::m20261121_000030_index_words_of_books::function as with_accents;
use crate::revision::{Backfill, Engine, Revision, backfill, postgres, sqlite};

/// The revision.
pub(super) fn revision() -> Revision {
    let (name, message) =
        ("m20261127_000011_find_words_without_accents", "find words without their accents");
    let changed = format!("({BEYOND_ASCII}) AND {CHANGED}");
    let filled = Backfill::of("books").set(SAME).only(&changed);
    let with_accents = with_accents();
    Revision::new(name, message)
        .after("m20261127_000010_index_items_by_book")
        .up([
            postgres(format!("CREATE OR REPLACE {}", function())),
            backfill(filled).on(Engine::Postgres).outside_transaction(),
            sqlite(rebuilt(2)).derived(),
        ])
        .down([
            // The step before has to be reverted first: the words are computed by the function.
            postgres("SELECT 1"),
            postgres(format!(
                r#"CREATE OR REPLACE {with_accents}; UPDATE "books" SET {SAME} WHERE {changed}"#
            )),
            sqlite(rebuilt(0)).derived(),
        ])
}

/// An UPDATE that names a column computes the columns that are generated from it (PostgreSQL, 5.4.
/// Generated Columns).
const SAME: &str = r#""title" = "title""#;

/// The books that may have an accent.
const BEYOND_ASCII: &str = r#"octet_length("title") <> length("title") OR octet_length("author") <> length("author") OR octet_length("description") <> length("description")"#;

/// The books whose words are still those of the other function.
const CHANGED: &str = r#""words" IS DISTINCT FROM "book_words"("title", "author", "description")"#;

/// The function of before, which now removes accents after it has split the words.
fn function() -> String {
    let folded = folded();
    format!(
        r#"FUNCTION "book_words" (title text, author text, description text)
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

/// Statements of PL/pgSQL that fold the variable `content` and leave its words, with spaces between
/// them. Released revisions use this text, so it never changes.
pub(super) fn folded() -> String {
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

/// The index of SQLite, made anew with a value of `remove_diacritics`. The triggers stay: they name the
/// table and not its options.
fn rebuilt(remove_diacritics: u8) -> String {
    let separators: String =
        words::SEPARATORS.iter().flat_map(|(first, last)| *first..=*last).collect();
    format!(
        r#"
        DROP TABLE "book_words";
        CREATE VIRTUAL TABLE "book_words" USING fts5 (
            "title", "author", "description", content = '',
            tokenize = "unicode61 remove_diacritics {remove_diacritics} categories 'L* N* Mn Mc Co' separators '{separators}'"
        );
        DELETE FROM "book_word_keys" WHERE "book_id" NOT IN (SELECT "id" FROM "books");
        INSERT INTO "book_words" ("rowid", "title", "author", "description")
            SELECT "number", "title", "author", "description"
            FROM "books" JOIN "book_word_keys" ON "book_id" = "id" ORDER BY "number";
        "#
    )
}
