//! The normal form: operands sorted where their order says nothing, comparisons turned one way,
//! lists as sets, casts dropped where they change nothing, one name for each function.

use super::{
    ColumnType, Engine, Scope,
    names::{FUNCTIONS, fold, rename},
    normal_code, normal_type,
    parse::{Kind, Node, parse},
    tokens,
    types::{is_integer, is_number, is_plain_text},
};

/// The normal form of an expression: two expressions with the same form have the same meaning.
/// The reverse holds for the spellings that the module knows.
pub fn normal_form(engine: Engine, text: &str, scope: &Scope) -> String {
    let words = tokens(engine, text);
    let Some(tree) = parse(engine, &words) else {
        // A form that isn't known: its words, so that at least white space says nothing.
        return normal_code(engine, text, scope);
    };
    let mut form = String::new();
    render(&Normaliser { engine, scope }.normal(tree), &mut form);
    form
}

struct Normaliser<'a> {
    engine: Engine,
    scope: &'a Scope,
}

impl Normaliser<'_> {
    fn normal(&self, node: Node) -> Node {
        let Node { kind, arguments } = node;
        let arguments: Vec<Node> = arguments.into_iter().map(|part| self.normal(part)).collect();
        match kind {
            Kind::Name(name, quoted) => self.name(name, quoted),
            Kind::Number(number) => leaf(Kind::Number(normal_number(&number))),
            Kind::Keyword(word) => self.keyword(word),
            Kind::Call(name) => self.call(name, arguments),
            Kind::Cast(target) => self.cast(&target, arguments),
            Kind::Collate(name) => self.collate(name, arguments),
            Kind::Operator(name) => self.operator(&name, arguments),
            Kind::Text(_) => Node { kind, arguments },
        }
    }

    /// A name; SQLite takes a quoted one that is no column for a text.
    fn name(&self, name: String, quoted: bool) -> Node {
        if self.engine == Engine::Sqlite && quoted && !self.scope.columns.is_empty() {
            let folded = fold(self.engine, &name);
            let known = self.scope.columns.contains_key(&folded);
            if !known && !name.contains('.') && !self.scope.renamed.contains_key(&folded) {
                return leaf(Kind::Text(name));
            }
        }
        let name = fold(self.engine, &name);
        leaf(Kind::Name(rename(self.scope, name), false))
    }

    fn keyword(&self, word: String) -> Node {
        match (self.engine, word.as_str()) {
            (Engine::Sqlite, "true") => leaf(Kind::Number("1".to_owned())),
            (Engine::Sqlite, "false") => leaf(Kind::Number("0".to_owned())),
            (Engine::Postgres, "current_timestamp") => {
                Node::new(Kind::Call("now".to_owned()), Vec::new())
            }
            _ => leaf(Kind::Keyword(word)),
        }
    }

    fn call(&self, name: String, arguments: Vec<Node>) -> Node {
        let known = FUNCTIONS.iter().find(|(other, _)| *other == name);
        let name = known.map_or(name, |(_, first)| (*first).to_owned());
        Node::new(Kind::Call(rename(self.scope, name)), arguments)
    }

    fn cast(&self, target: &str, mut arguments: Vec<Node>) -> Node {
        let target = normal_type(self.engine, target);
        let Some(inside) = arguments.pop() else { return leaf(Kind::Cast(target)) };
        if self.engine == Engine::Sqlite {
            return Node::new(Kind::Cast(target), vec![inside]);
        }
        let element = target.trim_end_matches("[]");
        let drops = match &inside.kind {
            Kind::Text(text) if is_plain_text(&target) => Some(leaf(Kind::Text(text.clone()))),
            Kind::Text(text) if is_integer(&target) && text.trim().parse::<i64>().is_ok() => {
                Some(leaf(Kind::Number(normal_number(text.trim()))))
            }
            Kind::Text(text) if target == "boolean" => boolean(text).map(keyword),
            Kind::Text(text) if element != target && is_plain_text(element) => array_constant(text),
            Kind::Number(number) if is_integer(&target) && number.parse::<i64>().is_ok() => {
                Some(inside.clone())
            }
            Kind::Keyword(word) if word == "null" => Some(inside.clone()),
            Kind::Keyword(_) if target == "boolean" => Some(inside.clone()),
            Kind::Operator(name) if name == "array" && element != target => {
                let texts = inside.arguments.iter().all(|item| matches!(item.kind, Kind::Text(_)));
                (texts && is_plain_text(element)).then(|| inside.clone())
            }
            Kind::Name(name, _) => {
                let column = self.column(name);
                let same = column.is_some_and(|column| {
                    let own = normal_type(self.engine, &column.type_name);
                    own == target || (is_plain_text(&own) && is_plain_text(&target))
                });
                (same || (self.scope.ignore_casts && column.is_some())).then(|| inside.clone())
            }
            Kind::Cast(inner) if is_plain_text(inner) && is_plain_text(&target) => {
                Some(inside.clone())
            }
            _ => None,
        };
        drops.unwrap_or_else(|| Node::new(Kind::Cast(target), vec![inside]))
    }

    /// A collation that the column has anyway says nothing.
    fn collate(&self, name: String, mut arguments: Vec<Node>) -> Node {
        if let [Node { kind: Kind::Name(column, _), .. }] = arguments.as_slice() {
            let own = self.column(column).and_then(|column| column.collation.as_deref());
            let plain = self.engine == Engine::Sqlite && own.is_none();
            let same = own.is_some_and(|own| match self.engine {
                Engine::Postgres => own == name,
                Engine::Sqlite => own.eq_ignore_ascii_case(&name),
            });
            if (same || (plain && name.eq_ignore_ascii_case("binary")))
                && self.column(column).is_some()
            {
                return arguments.remove(0);
            }
        }
        let name = match self.engine {
            Engine::Postgres => name,
            Engine::Sqlite => name.to_lowercase(),
        };
        Node::new(Kind::Collate(name), arguments)
    }

    /// A column of the scope, by its old name or its new one.
    fn column(&self, name: &str) -> Option<&ColumnType> {
        let columns = &self.scope.columns;
        let old = || self.scope.renamed.iter().find(|(_, new)| *new == name).map(|(old, _)| old);
        columns.get(name).or_else(|| columns.get(old()?))
    }

    fn operator(&self, name: &str, mut arguments: Vec<Node>) -> Node {
        let name = match name {
            "==" => "=",
            "!=" => "<>",
            "~~" => "like",
            "~~*" => "ilike",
            name => name,
        };
        match (name, arguments.as_slice()) {
            ("!~~", _) => negated(Node::operator("like", arguments)),
            ("!~~*", _) => negated(Node::operator("ilike", arguments)),
            ("not", [_]) => negated(arguments.remove(0)),
            ("and" | "or", _) => gathered(name, arguments),
            ("=" | "<>" | "<" | ">" | "<=" | ">=", [_, _]) => self.comparison(name, arguments),
            ("between", [value, low, high]) => {
                let low = self.comparison("<=", vec![low.clone(), value.clone()]);
                let high = self.comparison("<=", vec![value.clone(), high.clone()]);
                gathered("and", vec![low, high])
            }
            ("= any", [value, list]) if list.is_operator("array") => {
                membership("in", value.clone(), list.arguments.clone())
            }
            ("<> all", [value, list]) if list.is_operator("array") => {
                membership("not in", value.clone(), list.arguments.clone())
            }
            ("in" | "not in", [value, items @ ..]) => {
                membership(name, value.clone(), items.to_vec())
            }
            ("is distinct from" | "is not distinct from", [_, _]) => {
                arguments.sort();
                Node::operator(name, arguments)
            }
            _ => Node::operator(name, arguments),
        }
    }

    /// A comparison: the smaller side first; of equals the operands in their order. What a
    /// constant is cast to follows from the other side.
    fn comparison(&self, name: &str, arguments: Vec<Node>) -> Node {
        let mut arguments: Vec<Node> = arguments.into_iter().map(bare_constant).collect();
        let name = match name {
            ">" | ">=" => {
                arguments.reverse();
                if name == ">" { "<" } else { "<=" }
            }
            "=" | "<>" => {
                arguments.sort();
                name
            }
            _ => name,
        };
        if self.engine == Engine::Postgres && ["=", "<>"].contains(&name) {
            let is = |node: &Node, word| node.kind == Kind::Keyword(String::from(word));
            if let Some(at) =
                arguments.iter().position(|part| is(part, "true") || is(part, "false"))
            {
                let positive = is(&arguments[at], "true") == (name == "=");
                let other = arguments.swap_remove(1 - at);
                return if positive { other } else { negated(other) };
            }
        }
        Node::operator(name, arguments)
    }
}

fn leaf(kind: Kind) -> Node {
    Node::new(kind, Vec::new())
}

fn keyword(word: &str) -> Node {
    leaf(Kind::Keyword(word.to_owned()))
}

/// A number or text whose cast to another type of number changes nothing of its value.
fn bare_constant(node: Node) -> Node {
    match (&node.kind, node.arguments.as_slice()) {
        (Kind::Cast(target), [inside]) if is_number(target) => match &inside.kind {
            Kind::Number(_) => inside.clone(),
            Kind::Text(text) if text.trim().parse::<f64>().is_ok() => {
                leaf(Kind::Number(normal_number(text.trim())))
            }
            _ => node,
        },
        _ => node,
    }
}

/// `1.50` is `1.5`, `+1` is `1`, `007` is `7`.
fn normal_number(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with("0x") || digits.contains('e') {
        return format!("{sign}{digits}");
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let sign = if whole == "0" && fraction.is_empty() { "" } else { sign };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// What PostgreSQL reads as a truth value (manual, 8.6. Boolean Type).
fn boolean(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    match text.as_str() {
        "1" | "on" => Some("true"),
        "0" | "off" | "of" => Some("false"),
        "" | "o" => None,
        _ if "true".starts_with(&text) || "yes".starts_with(&text) => Some("true"),
        _ if "false".starts_with(&text) || "no".starts_with(&text) => Some("false"),
        _ => None,
    }
}

/// `'{A,B}'` as a list, if its elements are plain words.
fn array_constant(text: &str) -> Option<Node> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    if inside.is_empty() || inside.contains(['"', '\\', '{', '}']) {
        return None;
    }
    let items = inside.split(',').map(|item| leaf(Kind::Text(item.to_owned()))).collect();
    Some(Node::operator("array", items))
}

/// A value in a set or outside it. With one element it is a comparison.
fn membership(name: &str, value: Node, items: Vec<Node>) -> Node {
    let mut items: Vec<Node> = items.into_iter().map(bare_constant).collect();
    items.sort();
    items.dedup();
    if items.len() == 1 {
        let mut pair = vec![value, items.remove(0)];
        pair.sort();
        return Node::operator(if name == "in" { "=" } else { "<>" }, pair);
    }
    items.insert(0, value);
    Node::operator(name, items)
}

/// The contrary, as far inside as it goes. Unknown stays unknown.
fn negated(node: Node) -> Node {
    let Kind::Operator(name) = &node.kind else { return Node::operator("not", vec![node]) };
    let turned = match name.as_str() {
        "=" => Some(("<>", false)),
        "<>" => Some(("=", false)),
        "<" => Some(("<=", true)),
        "<=" => Some(("<", true)),
        "in" => Some(("not in", false)),
        "not in" => Some(("in", false)),
        "is null" => Some(("is not null", false)),
        "is not null" => Some(("is null", false)),
        "is true" => Some(("is not true", false)),
        "is not true" => Some(("is true", false)),
        "is false" => Some(("is not false", false)),
        "is not false" => Some(("is false", false)),
        "is distinct from" => Some(("is not distinct from", false)),
        "is not distinct from" => Some(("is distinct from", false)),
        _ => None,
    };
    match name.as_str() {
        "not" => node.arguments.into_iter().next().unwrap_or_else(|| keyword("null")),
        "and" | "or" => {
            let parts = node.arguments.into_iter().map(negated).collect();
            gathered(if name == "and" { "or" } else { "and" }, parts)
        }
        _ => match turned {
            Some((name, swap)) => {
                let mut arguments = node.arguments;
                if swap {
                    arguments.reverse();
                }
                Node::operator(name, arguments)
            }
            None => Node::operator("not", vec![node]),
        },
    }
}

/// AND and OR of any number of operands: flat, sorted, each once. Several comparisons of one
/// value with constants are one list.
fn gathered(name: &str, arguments: Vec<Node>) -> Node {
    let mut parts = Vec::new();
    for part in arguments {
        match part.is_operator(name) {
            true => parts.extend(part.arguments),
            false => parts.push(part),
        }
    }
    let (single, many) = if name == "or" { ("=", "in") } else { ("<>", "not in") };
    let mut lists: Vec<(Node, Vec<Node>)> = Vec::new();
    let mut others = Vec::new();
    for part in parts {
        let pair = match part.arguments.as_slice() {
            [one, other] if part.is_operator(single) && one.is_constant() => {
                Some((other.clone(), vec![one.clone()]))
            }
            [one, other] if part.is_operator(single) && other.is_constant() => {
                Some((one.clone(), vec![other.clone()]))
            }
            [value, items @ ..] if part.is_operator(many) => Some((value.clone(), items.to_vec())),
            _ => None,
        };
        let Some((value, items)) = pair else {
            others.push(part);
            continue;
        };
        match lists.iter_mut().find(|(known, _)| *known == value) {
            Some((_, known)) => known.extend(items),
            None => lists.push((value, items)),
        }
    }
    others.extend(lists.into_iter().map(|(value, items)| membership(many, value, items)));
    others.sort();
    others.dedup();
    match others.len() {
        1 => others.remove(0),
        _ => Node::operator(name, others),
    }
}

fn render(node: &Node, form: &mut String) {
    let word = match &node.kind {
        Kind::Name(name, _) => name.clone(),
        Kind::Text(text) => format!("'{text}'"),
        Kind::Number(number) => number.clone(),
        Kind::Keyword(word) => word.to_uppercase(),
        Kind::Operator(name) => name.clone(),
        Kind::Call(name) => format!("{name}()"),
        Kind::Cast(target) => format!("::{target}"),
        Kind::Collate(name) => format!("collate {name}"),
    };
    if node.arguments.is_empty() {
        form.push_str(&word);
        return;
    }
    form.push('(');
    form.push_str(&word);
    for argument in &node.arguments {
        form.push(' ');
        render(argument, form);
    }
    form.push(')');
}

#[cfg(test)]
mod tests;
