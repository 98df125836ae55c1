//! What may follow an expression: operators, and keywords that are operators.

use super::{
    AND, COMPARISON, Engine, ExpressionKind, IS, OR, OTHER, PATTERN, POSTFIX, PRODUCT, Parser, SUM,
    SqlExpression, Token,
};

impl Parser<'_> {
    /// The next operator with what stands left of it. None inside if the expression ends here.
    pub(super) fn infix(
        &mut self,
        left: &SqlExpression,
        least: u8,
    ) -> Option<Option<SqlExpression>> {
        let Some(next) = self.peek(0).cloned() else { return Some(None) };
        let start = self.at;
        let node = match &next.token {
            Token::Symbol(symbol) => self.symbol(left, symbol, least)?,
            Token::Word(word) => self.keyword(left, &word.to_lowercase(), least)?,
            _ => None,
        };
        if node.is_none() {
            self.at = start;
        }
        Some(node)
    }

    fn symbol(
        &mut self,
        left: &SqlExpression,
        symbol: &str,
        least: u8,
    ) -> Option<Option<SqlExpression>> {
        let sqlite = self.engine == Engine::Sqlite;
        let binds = match symbol {
            "::" => {
                self.at += 1;
                let target = self.type_name()?;
                return Some(Some(SqlExpression::new(
                    ExpressionKind::Cast(target),
                    vec![left.clone()],
                )));
            }
            "[" => {
                self.at += 1;
                let mut arguments = vec![left.clone()];
                arguments.extend(self.list("]")?);
                return Some(Some(SqlExpression::operator("[]", arguments)));
            }
            ")" | "]" | "," | "(" | ";" | ":" | "." => return Some(None),
            "=" | "==" | "<>" | "!=" if sqlite => IS,
            "=" | "==" | "<>" | "!=" | "<" | ">" | "<=" | ">=" => COMPARISON,
            "+" | "-" => SUM,
            "*" | "/" | "%" => PRODUCT,
            "^" => PRODUCT + 1,
            "||" | "->" | "->>" if sqlite => PRODUCT + 1,
            _ => OTHER,
        };
        if binds < least {
            return Some(None);
        }
        self.at += 1;
        for (word, quantifier) in [("any", "any"), ("some", "any"), ("all", "all")] {
            if self.peek(0).is_some_and(|token| token.is(word))
                && self.peek(1).is_some_and(|token| token.is_symbol("("))
            {
                self.at += 2;
                let list = self.expression(0)?;
                self.need(")")?;
                let name = format!("{symbol} {quantifier}");
                return Some(Some(SqlExpression::operator(&name, vec![left.clone(), list])));
            }
        }
        let right = self.expression(binds + 1)?;
        Some(Some(SqlExpression::operator(symbol, vec![left.clone(), right])))
    }

    fn keyword(
        &mut self,
        left: &SqlExpression,
        word: &str,
        least: u8,
    ) -> Option<Option<SqlExpression>> {
        let mut arguments = vec![left.clone()];
        let simple = match word {
            "or" => Some((OR, "or")),
            "and" => Some((AND, "and")),
            _ => None,
        };
        if let Some((binds, name)) = simple {
            if binds < least {
                return Some(None);
            }
            self.at += 1;
            arguments.push(self.expression(binds + 1)?);
            return Some(Some(SqlExpression::operator(name, arguments)));
        }
        match word {
            "collate" => {
                self.at += 1;
                let name = self.name()?;
                return Some(Some(SqlExpression::new(ExpressionKind::Collate(name), arguments)));
            }
            "at" if least <= POSTFIX && self.eat_all(&["at", "time", "zone"]) => {
                arguments.push(self.expression(POSTFIX)?);
                return Some(Some(SqlExpression::operator("at time zone", arguments)));
            }
            "isnull" | "notnull" if least <= IS => {
                self.at += 1;
                let name = if word == "isnull" { "is null" } else { "is not null" };
                return Some(Some(SqlExpression::operator(name, arguments)));
            }
            "is" if least <= IS => {
                self.at += 1;
                return self.is(arguments).map(Some);
            }
            _ => {}
        }
        let negated = self.eat("not");
        if negated && self.engine == Engine::Sqlite && self.eat("null") {
            return Some(Some(SqlExpression::operator("is not null", arguments)));
        }
        if least > PATTERN {
            return Some(None);
        }
        self.pattern(arguments, negated)
    }

    fn is(&mut self, mut arguments: Vec<SqlExpression>) -> Option<SqlExpression> {
        let not = if self.eat("not") { "not " } else { "" };
        for word in ["null", "true", "false", "unknown"] {
            if self.eat(word) {
                return Some(SqlExpression::operator(&format!("is {not}{word}"), arguments));
            }
        }
        let distinct = self.eat_all(&["distinct", "from"]);
        if !distinct && self.engine == Engine::Postgres {
            return None;
        }
        arguments.push(self.expression(COMPARISON)?);
        // SQLite's IS is what SQL calls IS NOT DISTINCT FROM.
        let differs = (not.is_empty()) == distinct;
        let name = if differs { "is distinct from" } else { "is not distinct from" };
        Some(SqlExpression::operator(name, arguments))
    }

    fn pattern(
        &mut self,
        mut arguments: Vec<SqlExpression>,
        negated: bool,
    ) -> Option<Option<SqlExpression>> {
        let name = if self.eat("in") {
            self.need("(")?;
            arguments.extend(self.list(")")?);
            "in"
        } else if self.eat("between") {
            let symmetric = self.eat("symmetric");
            arguments.push(self.expression(COMPARISON)?);
            self.eat("and").then_some(())?;
            arguments.push(self.expression(COMPARISON)?);
            if symmetric { "between symmetric" } else { "between" }
        } else {
            let known = ["like", "ilike", "glob", "regexp", "match", "similar"];
            let Some(name) = known.into_iter().find(|word| self.eat(word)) else {
                return Some(None);
            };
            if name == "similar" {
                self.eat("to").then_some(())?;
            }
            arguments.push(self.expression(OTHER)?);
            if self.eat("escape") {
                arguments.push(self.expression(OTHER)?);
            }
            name
        };
        let node = SqlExpression::operator(name, arguments);
        Some(Some(if negated { SqlExpression::operator("not", vec![node]) } else { node }))
    }
}
