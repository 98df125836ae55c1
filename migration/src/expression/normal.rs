//! The normal form: operands sorted where their order doesn't matter, comparisons in one direction,
//! lists as sets, redundant casts dropped, one name for each function.

use super::{
    ColumnType, Engine, Scope,
    constants::{array_constant, boolean, fits, normal_number},
    names::{FUNCTIONS, fold, rename},
    normal_code, normal_type,
    parse::{ExpressionKind, SqlExpression, parse},
    tokens,
    types::{is_integer, is_number, is_plain_text},
};

/// The normal form of an expression: two expressions with the same form have the same meaning.
/// The reverse holds for the spellings that the module knows.
pub fn normal_form(engine: Engine, text: &str, scope: &Scope) -> String {
    let words = tokens(engine, text);
    let Some(tree) = parse(engine, &words) else {
        // An unknown form: its tokens, so that at least white space doesn't matter.
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
    fn normal(&self, node: SqlExpression) -> SqlExpression {
        let SqlExpression { kind, arguments } = node;
        let arguments: Vec<SqlExpression> =
            arguments.into_iter().map(|part| self.normal(part)).collect();
        match kind {
            ExpressionKind::Name(name, quoted) => self.name(name, quoted),
            ExpressionKind::Number(number) => leaf(ExpressionKind::Number(normal_number(&number))),
            ExpressionKind::Keyword(word) => self.keyword(word),
            ExpressionKind::Call(name) => self.call(name, arguments),
            ExpressionKind::Cast(target) => self.cast(&target, arguments),
            ExpressionKind::Collate(name) => self.collate(name, arguments),
            ExpressionKind::Operator(name) => self.operator(&name, arguments),
            ExpressionKind::Text(_) => SqlExpression { kind, arguments },
        }
    }

    /// A name; SQLite takes a quoted one that is no column for a text.
    fn name(&self, name: String, quoted: bool) -> SqlExpression {
        if self.engine == Engine::Sqlite && quoted && !self.scope.columns.is_empty() {
            let folded = fold(self.engine, &name);
            let known = self.scope.columns.contains_key(&folded);
            if !known && !name.contains('.') && !self.scope.renamed.contains_key(&folded) {
                return leaf(ExpressionKind::Text(name));
            }
        }
        let name = fold(self.engine, &name);
        leaf(ExpressionKind::Name(rename(self.scope, name), false))
    }

    fn keyword(&self, word: String) -> SqlExpression {
        match (self.engine, word.as_str()) {
            (Engine::Sqlite, "true") => leaf(ExpressionKind::Number("1".to_owned())),
            (Engine::Sqlite, "false") => leaf(ExpressionKind::Number("0".to_owned())),
            (Engine::Postgres, "current_timestamp") => {
                SqlExpression::new(ExpressionKind::Call("now".to_owned()), Vec::new())
            }
            _ => leaf(ExpressionKind::Keyword(word)),
        }
    }

    fn call(&self, name: String, arguments: Vec<SqlExpression>) -> SqlExpression {
        let known = FUNCTIONS.iter().find(|(other, _)| *other == name);
        let mut name = known.map_or(name, |(_, first)| (*first).to_owned());
        if let ("octet_length", [SqlExpression { kind: ExpressionKind::Name(column, _), .. }]) =
            (name.as_str(), arguments.as_slice())
            && self.column(column).is_some_and(|column| column.type_name == "bytea")
        {
            // Of bytes the two count the same.
            "length".clone_into(&mut name);
        }
        SqlExpression::new(ExpressionKind::Call(rename(self.scope, name)), arguments)
    }

    fn cast(&self, target: &str, mut arguments: Vec<SqlExpression>) -> SqlExpression {
        let target = normal_type(self.engine, target);
        let Some(inside) = arguments.pop() else { return leaf(ExpressionKind::Cast(target)) };
        if self.engine == Engine::Sqlite {
            return SqlExpression::new(ExpressionKind::Cast(target), vec![inside]);
        }
        let element = target.trim_end_matches("[]");
        let drops = match &inside.kind {
            ExpressionKind::Text(text) if is_plain_text(&target) || fits(text, &target) => {
                Some(leaf(ExpressionKind::Text(text.clone())))
            }
            ExpressionKind::Text(text)
                if is_integer(&target) && text.trim().parse::<i64>().is_ok() =>
            {
                Some(leaf(ExpressionKind::Number(normal_number(text.trim()))))
            }
            ExpressionKind::Text(text) if target == "boolean" => boolean(text).map(keyword),
            ExpressionKind::Text(text) if element != target && is_plain_text(element) => {
                array_constant(text)
            }
            ExpressionKind::Number(number)
                if is_integer(&target) && number.parse::<i64>().is_ok() =>
            {
                Some(inside.clone())
            }
            ExpressionKind::Keyword(word) if word == "null" => Some(inside.clone()),
            ExpressionKind::Keyword(_) if target == "boolean" => Some(inside.clone()),
            ExpressionKind::Operator(name) if name == "array" && element != target => {
                let texts = inside
                    .arguments
                    .iter()
                    .all(|item| matches!(item.kind, ExpressionKind::Text(_)));
                (texts && is_plain_text(element)).then(|| inside.clone())
            }
            ExpressionKind::Name(name, _) => {
                let column = self.column(name);
                let same = column.is_some_and(|column| {
                    let own = normal_type(self.engine, &column.type_name);
                    own == target || (is_plain_text(&own) && is_plain_text(&target))
                });
                (same || (self.scope.ignore_casts && column.is_some())).then(|| inside.clone())
            }
            ExpressionKind::Cast(inner) if is_plain_text(inner) && is_plain_text(&target) => {
                Some(inside.clone())
            }
            _ => None,
        };
        drops.unwrap_or_else(|| SqlExpression::new(ExpressionKind::Cast(target), vec![inside]))
    }

    /// A collation that the column has anyway says nothing.
    fn collate(&self, name: String, mut arguments: Vec<SqlExpression>) -> SqlExpression {
        if let [SqlExpression { kind: ExpressionKind::Name(column, _), .. }] = arguments.as_slice()
        {
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
        SqlExpression::new(ExpressionKind::Collate(name), arguments)
    }

    /// A column of the scope, by its old name or its new one.
    fn column(&self, name: &str) -> Option<&ColumnType> {
        let columns = &self.scope.columns;
        let old = || self.scope.renamed.iter().find(|(_, new)| *new == name).map(|(old, _)| old);
        columns.get(name).or_else(|| columns.get(old()?))
    }

    fn operator(&self, name: &str, mut arguments: Vec<SqlExpression>) -> SqlExpression {
        let name = match name {
            "==" => "=",
            "!=" => "<>",
            "~~" => "like",
            "~~*" => "ilike",
            name => name,
        };
        match (name, arguments.as_slice()) {
            ("!~~", _) => negated(SqlExpression::operator("like", arguments)),
            ("!~~*", _) => negated(SqlExpression::operator("ilike", arguments)),
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
                SqlExpression::operator(name, arguments)
            }
            _ => SqlExpression::operator(name, arguments),
        }
    }

    /// A comparison: the smaller side first; of equals the operands in their order. What a
    /// constant is cast to follows from the other side.
    fn comparison(&self, name: &str, arguments: Vec<SqlExpression>) -> SqlExpression {
        let mut arguments: Vec<SqlExpression> = arguments.into_iter().map(bare_constant).collect();
        let mut name = name;
        if let ("=" | "<>", [_, _]) = (name, arguments.as_slice()) {
            // Whether two values are set or not: IS NULL is never unknown, so it can be turned.
            for part in &mut arguments {
                if part.is_operator("is not null") {
                    *part = SqlExpression::operator("is null", std::mem::take(&mut part.arguments));
                    name = if name == "=" { "<>" } else { "=" };
                }
            }
        }
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
            let is = |node: &SqlExpression, word| {
                node.kind == ExpressionKind::Keyword(String::from(word))
            };
            if let Some(at) =
                arguments.iter().position(|part| is(part, "true") || is(part, "false"))
            {
                let positive = is(&arguments[at], "true") == (name == "=");
                let other = arguments.swap_remove(1 - at);
                return if positive { other } else { negated(other) };
            }
        }
        SqlExpression::operator(name, arguments)
    }
}

fn leaf(kind: ExpressionKind) -> SqlExpression {
    SqlExpression::new(kind, Vec::new())
}

fn keyword(word: &str) -> SqlExpression {
    leaf(ExpressionKind::Keyword(word.to_owned()))
}

/// A number or text whose cast to another type of number changes nothing of its value.
fn bare_constant(node: SqlExpression) -> SqlExpression {
    match (&node.kind, node.arguments.as_slice()) {
        (ExpressionKind::Cast(target), [inside]) if is_number(target) => match &inside.kind {
            ExpressionKind::Number(_) => inside.clone(),
            ExpressionKind::Text(text) if text.trim().parse::<f64>().is_ok() => {
                leaf(ExpressionKind::Number(normal_number(text.trim())))
            }
            _ => node,
        },
        _ => node,
    }
}

/// A value in a set or outside it. With one element it is a comparison.
fn membership(name: &str, value: SqlExpression, items: Vec<SqlExpression>) -> SqlExpression {
    let mut items: Vec<SqlExpression> = items.into_iter().map(bare_constant).collect();
    items.sort();
    items.dedup();
    if items.len() == 1 {
        let mut pair = vec![value, items.remove(0)];
        pair.sort();
        return SqlExpression::operator(if name == "in" { "=" } else { "<>" }, pair);
    }
    items.insert(0, value);
    SqlExpression::operator(name, items)
}

/// The contrary, as far inside as it goes. Unknown stays unknown.
fn negated(node: SqlExpression) -> SqlExpression {
    let ExpressionKind::Operator(name) = &node.kind else {
        return SqlExpression::operator("not", vec![node]);
    };
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
                SqlExpression::operator(name, arguments)
            }
            None => SqlExpression::operator("not", vec![node]),
        },
    }
}

/// AND and OR of any number of operands: flat, sorted, each once. Several comparisons of one
/// value with constants are one list.
fn gathered(name: &str, arguments: Vec<SqlExpression>) -> SqlExpression {
    let mut parts = Vec::new();
    for part in arguments {
        match part.is_operator(name) {
            true => parts.extend(part.arguments),
            false => parts.push(part),
        }
    }
    let (single, many) = if name == "or" { ("=", "in") } else { ("<>", "not in") };
    let mut lists: Vec<(SqlExpression, Vec<SqlExpression>)> = Vec::new();
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
        _ => SqlExpression::operator(name, others),
    }
}

fn render(node: &SqlExpression, form: &mut String) {
    let word = match &node.kind {
        ExpressionKind::Name(name, _) => name.clone(),
        ExpressionKind::Text(text) => format!("'{text}'"),
        ExpressionKind::Number(number) => number.clone(),
        ExpressionKind::Keyword(word) => word.to_uppercase(),
        ExpressionKind::Operator(name) => name.clone(),
        ExpressionKind::Call(name) => format!("{name}()"),
        ExpressionKind::Cast(target) => format!("::{target}"),
        ExpressionKind::Collate(name) => format!("collate {name}"),
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
