//! Commands and answers as pages print them and as grpcurl prints them.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

/// The names whose values are others in every run.
const CHANGING: [&str; 6] =
    ["createTime", "updateTime", "etag", "nextPageToken", "consistencyToken", "timeoutMs"];

/// A command of a page with the answer below it.
#[derive(Debug)]
pub(super) struct Printed {
    /// The program that it is for, `go` or `rs`; empty for each.
    pub(super) only: String,
    /// The command, without its prompt.
    pub(super) command: String,
    /// What is printed below it.
    pub(super) answer: String,
}

/// The commands of a page's console blocks, one a block.
pub(super) fn printed(page: &str) -> Vec<Printed> {
    let blocks = page.split("```console").skip(1);
    let read = |block: &str| {
        let (only, text) = block.split_once('\n').expect("a block");
        let text = text.split("\n```").next().unwrap_or_default();
        let text = text.strip_prefix("$ ").expect("a prompt");
        let mut end = 0;
        for line in text.split_inclusive('\n') {
            end += line.len();
            // A command goes on inside a quotation and behind a backslash.
            let is_quoted = text[..end].matches('\'').count() % 2 == 1;
            if !is_quoted && !line.trim_end().ends_with('\\') {
                break;
            }
        }
        let (command, answer) = text.split_at(end);
        let [only, command, answer] = [only, command, answer].map(|part| part.trim().to_owned());
        Printed { only, command, answer }
    };
    blocks.map(read).collect()
}

/// The words of a command, as a shell splits it. Quotations are single quotes.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in command.replace("\\\n", " ").split('\'').enumerate() {
        match at % 2 {
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_whitespace().map(str::to_owned)),
        }
    }
    words
}

/// The services or fields that a text lists, in order, without comments and options.
pub(super) fn schema(text: &str) -> Vec<String> {
    let pattern = r"(?m)^(bookstore\.v1\.\w+)$|^\s+(?:[\w.]+ )+?(\w+) = (\d+)";
    let pattern = Regex::new(pattern).expect("a pattern");
    let listed = pattern.captures_iter(text);
    listed.map(|found| found.iter().skip(1).flatten().map(|part| part.as_str()).collect()).collect()
}

/// What a call answered: messages, and an error if it failed.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The messages in JSON.
    pub(super) values: Vec<Value>,
    /// Why it failed.
    pub(super) refusal: Option<Refusal>,
}

/// An error of a call.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The code, such as `InvalidArgument`.
    pub(super) code: String,
    /// The message.
    pub(super) message: String,
    /// The details in JSON; empty if they are not known.
    pub(super) details: Vec<Value>,
}

impl Answer {
    /// Reads what grpcurl prints.
    pub(super) fn read(text: &str) -> Self {
        let (values, refused) = match text.split_once("ERROR:\n") {
            Some((values, refused)) => (values, Some(refused)),
            None => (text, None),
        };
        let values = serde_json::Deserializer::from_str(values).into_iter();
        let values = values.map(|value| value.unwrap_or_else(|error| panic!("{error}: {text}")));
        let refusal = refused.map(|refused| {
            let line = |name: &str| {
                let mut lines = refused.lines();
                let found = lines.find_map(|line| line.trim_start().strip_prefix(name));
                found.expect(name).trim().to_owned()
            };
            let details = refused.lines().filter_map(|line| line.split_once(")\t"));
            let details = details.map(|(_, detail)| serde_json::from_str(detail).expect("JSON"));
            Refusal { code: line("Code:"), message: line("Message:"), details: details.collect() }
        });
        Self { values: values.collect(), refusal }
    }

    /// Whether it is an error without details.
    pub(super) fn lacks_details(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.details.is_empty())
    }

    /// Fails where an answer is not the printed one. Notes what the printed values that change
    /// are in this run.
    pub(super) fn compare(&self, said: &Self, run: &mut HashMap<String, String>, command: &str) {
        match (&self.refusal, &said.refusal) {
            (None, None) => {}
            (Some(printed), Some(said)) => {
                assert_eq!(printed.code, said.code, "{command}");
                assert_eq!(printed.message, said.message, "{command}");
                // grpcurl-rs does not print them.
                if !said.details.is_empty() {
                    assert_eq!(printed.details, said.details, "{command}");
                }
            }
            _ => panic!("{command}\n{self:?}\n{said:?}"),
        }
        assert_eq!(self.values.len(), said.values.len(), "{command}\n{said:?}");
        for (printed, said) in self.values.iter().zip(&said.values) {
            compare(printed, said, run, command);
        }
    }
}

fn compare(printed: &Value, said: &Value, run: &mut HashMap<String, String>, command: &str) {
    match (printed, said) {
        (Value::Object(printed), Value::Object(said)) => {
            let names = |object: &serde_json::Map<_, _>| {
                let mut names: Vec<String> = object.keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(printed), names(said), "{command}");
            for (name, value) in printed {
                match (value, &said[name]) {
                    (Value::String(printed), Value::String(said))
                        if CHANGING.contains(&name.as_str()) =>
                    {
                        run.insert(printed.clone(), said.clone());
                    }
                    (Value::Number(_), Value::Number(_)) if CHANGING.contains(&name.as_str()) => {}
                    (value, said) => compare(value, said, run, command),
                }
            }
        }
        (Value::Array(printed), Value::Array(said)) => {
            assert_eq!(printed.len(), said.len(), "{command}");
            for (printed, said) in printed.iter().zip(said) {
                compare(printed, said, run, command);
            }
        }
        // A number in a Struct is a double, which grpcurl writes as short as it can.
        (Value::Number(printed), Value::Number(said)) => {
            assert_eq!(printed.as_f64(), said.as_f64(), "{command}");
        }
        (printed, said) => assert_eq!(printed, said, "{command}"),
    }
}

#[test]
fn console_block_is_split_into_commands_and_answers() {
    let page = "x\n```console rs\n$ grpcurl -d '{\n  \"a\": 1}' \\\n    b c\n{\"d\": 2}\n```\ny";
    let blocks = printed(page);
    assert_eq!(blocks.len(), 1);
    assert_eq!((&*blocks[0].only, &*blocks[0].answer), ("rs", "{\"d\": 2}"));
    assert_eq!(words(&blocks[0].command), ["grpcurl", "-d", "{\n  \"a\": 1}", "b", "c"]);
    let message =
        "message A {\n  // = 7 of these\n  .b.C d = 1 [(x) = Y];\n  repeated string e = 2;";
    assert_eq!(schema(message), ["d1", "e2"]);
}

#[test]
#[should_panic(expected = "left: Number(1)")]
fn different_answer_is_found() {
    let answer = |text| Answer::read(text);
    answer("{\"a\": 1}").compare(&answer("{\"a\": \"1\"}"), &mut HashMap::new(), "");
}

#[test]
#[should_panic(expected = "reason")]
fn different_detail_is_found() {
    let refused = |reason| {
        let detail = format!("  1)\t{{\"reason\":\"{reason}\"}}");
        Answer::read(&format!("ERROR:\n  Code: Aborted\n  Message: x\n  Details:\n{detail}"))
    };
    refused("A").compare(&refused("B"), &mut HashMap::new(), "");
}
