//! Types a parsed filter: finds every field, and converts every value to the field's kind.

use aip_160::{Arg, Comparable, Comparator, Expression, Member, Restriction, Value as Literal};
use sea_orm::sea_query::BinOper;

use crate::{
    field::{Field, Invalid, Kind, ResourceFields, cut, shown},
    filter::{
        attributes,
        node::{FilterNode, JsonTest, LITERAL_STAR, Operand, Test},
        value,
    },
    search::words::Words,
};

/// Types a filter. The parser limits the depth of the recursion.
pub(crate) fn check(
    expression: &Expression,
    fields: &ResourceFields,
) -> Result<FilterNode, Invalid> {
    let all = |children: &[Expression]| -> Result<Vec<FilterNode>, Invalid> {
        children.iter().map(|child| check(child, fields)).collect()
    };
    match expression {
        Expression::And(children) | Expression::Sequence(children) => {
            Ok(FilterNode::All(all(children)?))
        }
        Expression::Or(children) => Ok(FilterNode::Any(all(children)?)),
        Expression::Not(child) => Ok(FilterNode::Not(Box::new(check(child, fields)?))),
        Expression::Restriction(restriction) => test(restriction, fields),
        Expression::Global(Comparable::Function(function)) => Err(no_function(&function.name)),
        Expression::Global(Comparable::Member(member)) => Err(alone(member)),
    }
}

fn test(restriction: &Restriction, fields: &ResourceFields) -> Result<FilterNode, Invalid> {
    let member = match &restriction.comparable {
        Comparable::Member(member) => member,
        Comparable::Function(function) => return Err(no_function(&function.name)),
    };
    let (field, path) = resolve(member, fields)?;
    let name = name_of(member);
    let operand = operand(&name, &restriction.arg)?;
    let comparator = restriction.comparator;
    if comparator == Comparator::Has && operand.is_star() {
        let test = if path.is_empty() { Test::Set } else { Test::Json(path, JsonTest::Set) };
        return Ok(FilterNode::Test(field, test));
    }
    if operand.text == "null" && !operand.quoted {
        return Err(Invalid(format!(
            "there is no null: write NOT {name}:* for an unset field, or \"null\" for the text"
        )));
    }
    if field.children.is_some() && comparator == Comparator::NotEqual {
        return Err(Invalid(format!(
            "{name} != is true of nearly every row, since it has several values: write NOT {name} = \"{}\"",
            cut(&operand.literal())
        )));
    }
    // A repeated field "has" a value (AIP-160).
    let comparator = match (field.children, comparator) {
        (Some(_), Comparator::Has) => Comparator::Equal,
        _ => comparator,
    };
    let test = match field.kind {
        Kind::Json if path.is_empty() => {
            return Err(Invalid(format!("{name} is compared by a path below it: {name}.key")));
        }
        Kind::Json => Test::Json(path, attributes::test(&name, comparator, operand)?),
        Kind::Text | Kind::LongText => {
            bound_pattern(&name, field.kind, comparator, operand)?;
            match field.words {
                Some(index) if comparator == Comparator::Has => {
                    // An escaped star is no prefix. It separates words as other signs do.
                    let words = Words::all_of(&operand.text.replace(LITERAL_STAR, " "));
                    let words = words.map_err(|error| Invalid(format!("{name}: {error}")))?;
                    Test::Words(index, words)
                }
                _ => value::text(&name, comparator, operand)?,
            }
        }
        kind => Test::Compare(
            operator(&name, field, comparator)?,
            value::typed(kind, operand).ok_or_else(|| ill_typed(&name, kind, operand))?,
        ),
    };
    Ok(FilterNode::Test(field, test))
}

/// The most characters that `:` looks for. A text that nearly matches takes their number times
/// its own length.
const PATTERN: usize = 200;

/// The same for texts of thousands of characters.
const LONG_PATTERN: usize = 64;

/// The most texts that a filter looks for with `:`, and those among them in long texts.
const PATTERNS: (usize, usize) = (32, 1);

fn bound_pattern(
    name: &str,
    kind: Kind,
    comparator: Comparator,
    operand: Operand<'_>,
) -> Result<(), Invalid> {
    let most = if kind == Kind::LongText { LONG_PATTERN } else { PATTERN };
    let length = operand.text.chars().count();
    match comparator == Comparator::Has && length > most {
        true => {
            Err(Invalid(format!("{name}: looks for at most {most} characters; these are {length}")))
        }
        false => Ok(()),
    }
}

/// Counts what a filter looks for with `:`.
///
/// # Errors
/// If that is too much.
pub(crate) fn bound_patterns(node: &FilterNode) -> Result<(), Invalid> {
    let (all, long) = patterns(node);
    if all > PATTERNS.0 {
        let most = PATTERNS.0;
        return Err(Invalid(format!(
            "a filter looks for at most {most} texts with :; these are {all}"
        )));
    }
    if long > PATTERNS.1 {
        return Err(Invalid(
            "a filter looks for one text with : in long texts, not more".to_owned(),
        ));
    }
    Ok(())
}

fn patterns(node: &FilterNode) -> (usize, usize) {
    match node {
        FilterNode::All(nodes) | FilterNode::Any(nodes) => nodes
            .iter()
            .map(patterns)
            .fold((0, 0), |(all, long), (more, longer)| (all + more, long + longer)),
        FilterNode::Not(node) => patterns(node),
        FilterNode::Test(field, Test::Contains(_)) => {
            (1, usize::from(field.kind == Kind::LongText))
        }
        FilterNode::Test(_, Test::Words(..)) => (1, 0),
        FilterNode::Test(..) => (0, 0),
    }
}

/// Finds the field of a path, and the rest of the path inside a JSON object.
fn resolve(
    member: &Member,
    fields: &ResourceFields,
) -> Result<(&'static Field, Vec<String>), Invalid> {
    let mut filterable = fields.fields.iter().filter(|field| field.filterable);
    let path = member.field_path();
    let found = filterable.clone().find(|field| path.as_deref() == Some(field.name));
    if let Some(field) = found {
        return Ok((field, Vec::new()));
    }
    let object = filterable.find(|field| {
        let unquoted = Literal::Text(field.name.to_owned());
        field.kind == Kind::Json && member.value == unquoted
    });
    match object {
        Some(field) => Ok((field, attributes::path(&member.fields)?)),
        None => Err(Invalid(format!(
            "{} can't be filtered by; what can: {}",
            shown(&name_of(member)),
            fields.filterable()
        ))),
    }
}

fn operand<'a>(name: &str, argument: &'a Arg) -> Result<Operand<'a>, Invalid> {
    let member = match argument {
        Arg::Comparable(Comparable::Member(member)) => member,
        Arg::Comparable(Comparable::Function(function)) => return Err(no_function(&function.name)),
        Arg::Composite(_) => {
            let error =
                "is compared with one value, not with parentheses: repeat the field instead";
            return Err(Invalid(format!("{name} {error}")));
        }
    };
    let (text, quoted) = match &member.value {
        Literal::Text(text) => (text, false),
        Literal::String(text) => (text, true),
    };
    // A backslash escapes other characters inside of quotes.
    if !member.fields.is_empty() || (!quoted && text.contains('\\')) {
        return Err(Invalid(format!("put the value {} in quotes", shown(&name_of(member)))));
    }
    Ok(Operand { text, quoted })
}

/// The SQL operator, for kinds that have no operators of their own.
fn operator(name: &str, field: &Field, comparator: Comparator) -> Result<BinOper, Invalid> {
    let ordered = matches!(field.kind, Kind::Integer | Kind::Micros | Kind::Double | Kind::Time);
    match comparator {
        Comparator::Has => Err(value::only_set(name)),
        Comparator::Equal | Comparator::NotEqual => Ok(value::operator(comparator)),
        _ if ordered => Ok(value::operator(comparator)),
        _ => {
            let known = if field.children.is_some() { "=" } else { "= and !=" };
            Err(Invalid(format!("{name} is compared with {known} only, not with {comparator}")))
        }
    }
}

/// The error for a value that isn't of the field's kind.
fn ill_typed(name: &str, kind: Kind, operand: Operand<'_>) -> Invalid {
    let quotes = if operand.quoted { " in quotes" } else { "" };
    let text = shown(&operand.literal());
    Invalid(format!("{name} is compared with {}, not with {text}{quotes}", kind.wanted()))
}

fn alone(member: &Member) -> Invalid {
    let name = name_of(member);
    Invalid(match name.as_str() {
        "and" | "or" | "not" => format!("keywords are written in upper case, not {name}"),
        _ => format!("{} stands alone: say what is compared, as in name = value", shown(&name)),
    })
}

fn no_function(name: &[String]) -> Invalid {
    Invalid(format!("there are no functions in filters, such as {}", shown(&name.join("."))))
}

/// A path as the caller wrote it, cut so that a message stays short.
fn name_of(member: &Member) -> String {
    cut(&member.to_string().replace(LITERAL_STAR, "\\*"))
}
