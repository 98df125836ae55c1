//! All characters: both engines split and fold them by the same tables as the service splits a
//! query.

use std::collections::HashMap;

use bookstore_entity::words;
use bookstore_tests::{Engine, TestServer, on_every_engine};

use crate::client::id;

on_every_engine!(every_character_is_split_and_folded_as_the_tables_say);

/// The number of characters of a description, each followed by a space.
const PIECE: usize = 5_000;

/// The words of a text of these characters, one word each.
fn split(characters: &[char], ranges: &[(char, char)], folds: &HashMap<char, char>) -> Vec<String> {
    let in_word = |c: &char| {
        let at = ranges.partition_point(|(first, _)| first <= c);
        at > 0 && *c <= ranges[at - 1].1
    };
    let fold = |c: &char| {
        let folded = folds.get(c).copied().unwrap_or(c.to_ascii_lowercase());
        folds.get(&folded).copied().unwrap_or(folded)
    };
    let folded = characters.iter().filter(|c| in_word(c)).map(fold);
    folded.filter(|c| !words::MARKS.contains(*c)).map(String::from).collect()
}

async fn every_character_is_split_and_folded_as_the_tables_say(engine: Engine) {
    let server = TestServer::start(engine).await;
    let ranges: Vec<(char, char)> = words::ranges().collect();
    let both = || words::FOLDS.iter().chain(words::ACCENTS);
    let folds = both().flat_map(|(from, to)| from.chars().zip(to.chars())).collect();
    for (from, to) in both() {
        assert_eq!(from.chars().count(), to.chars().count());
    }
    let all: Vec<char> = ('\u{1}'..=char::MAX).collect();
    let rows = (1..).zip(all.chunks(PIECE)).map(|(number, piece)| {
        let text: String = piece.iter().flat_map(|c| [*c, ' ']).collect();
        let text = text.replace('\'', "''");
        let key = match engine {
            Engine::Sqlite => format!("x'{}'", id(number).replace('-', "")),
            Engine::Postgres => format!("'{}'", id(number)),
        };
        format!("({key}, '?', '?', '{text}', 0, 'EUR')")
    });
    let rows: Vec<String> = rows.collect();
    for rows in rows.chunks(20) {
        let rows = rows.join(", ");
        let columns = "id, title, author, description, price_micros, currency_code";
        server.sql(&format!("INSERT INTO books ({columns}) VALUES {rows}")).await;
    }
    let found = match engine {
        Engine::Sqlite => {
            "CREATE VIRTUAL TABLE temp.instances USING fts5vocab (main, book_words, instance);
             SELECT book_id, group_concat(term, ' ' ORDER BY \"offset\")
             FROM temp.instances JOIN book_word_keys ON number = doc GROUP BY book_id ORDER BY 1"
        }
        Engine::Postgres => {
            "SELECT id, string_agg(lexeme, ' ' ORDER BY place)
             FROM books, unnest(words) AS w (lexeme, places, weights), unnest(places) AS place
             GROUP BY id ORDER BY 1"
        }
    };
    let pairs = server.sql(found).await.into_iter().filter_map(|row| match row.as_slice() {
        [Some(id), Some(words)] => Some((id.clone(), words.clone())),
        _ => None,
    });
    let mut found: HashMap<String, String> = pairs.collect();
    let mut wrong = Vec::new();
    for (number, piece) in (1..).zip(all.chunks(PIECE)) {
        let wanted = split(piece, &ranges, &folds);
        let words = found.remove(&id(number)).unwrap_or_default();
        let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
        if words != wanted {
            let odd =
                |c: &&char| !words.contains(&split(&[**c], &ranges, &folds).concat().as_str());
            wrong.push((number, piece.iter().filter(odd).take(20).collect::<Vec<_>>()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
