//! A policy as tables for people: roles by methods, and roles by credentials.

use super::{
    judge::Policy,
    methods::MethodName,
    rule::{Rule, Verdict},
};
use crate::identity::RoleSet;

/// What stands in a cell whose caller may.
const YES: &str = "yes";

/// What stands in a cell whose caller may not.
const NO: &str = "-";

impl Policy {
    /// Who may call which method, and which credentials have which roles, as tables in Markdown.
    /// Lines are sorted by their names, so that a difference between two policies is a difference
    /// in what they allow.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut head = vec!["method".to_owned(), "no credentials".to_owned(), "no role".to_owned()];
        head.extend(self.roles().iter().map(|role| role.name.clone()));
        let mut sorted: Vec<&(MethodName, Rule)> = self.lines().iter().collect();
        sorted.sort_by_key(|(name, _)| name);
        let mut rows = vec![head];
        for (name, _) in sorted {
            rows.push(self.row(name.to_string(), |roles| self.verdict(name, roles)));
        }
        let operators = self.operators();
        for (name, rule) in
            [("see", operators.see), ("change", operators.change), ("diagnose", operators.diagnose)]
        {
            rows.push(self.row(format!("operators: {name}"), |roles| rule.judge(roles)));
        }
        let mut callers = vec![vec!["caller".to_owned(), "roles".to_owned()]];
        callers.extend(self.callers());
        format!("{}\n{}", table(&rows), table(&callers))
    }

    fn row(&self, name: String, judge: impl Fn(Option<RoleSet>) -> Verdict) -> Vec<String> {
        let cell = |roles: Option<RoleSet>| match judge(roles) {
            Verdict::Allowed => YES.to_owned(),
            _ => NO.to_owned(),
        };
        let mut row = vec![name, cell(None), cell(Some(RoleSet::default()))];
        row.extend(self.roles().iter().map(|role| cell(Some(role.set))));
        row
    }

    /// The credentials with their roles.
    fn callers(&self) -> Vec<Vec<String>> {
        let names = |set| self.names_of(set).join(" ");
        let mut callers = Vec::new();
        let certificates =
            self.certificates.iter().map(|(name, set)| vec![format!("cert:{name}"), names(*set)]);
        callers.extend(certificates);
        callers.extend(
            self.tokens.iter().map(|(name, set)| vec![format!("token:{name}"), names(*set)]),
        );
        for issuer in self.issuers() {
            let name = &issuer.name;
            let claim = issuer.roles_claim.as_deref().unwrap_or_default();
            let mapped = issuer.roles.iter();
            callers.extend(mapped.map(|(text, set)| {
                vec![format!("jwt:{name} with {text:?} in {claim}"), names(*set)]
            }));
            let subjects = issuer.subjects.iter();
            callers.extend(
                subjects.map(|(subject, set)| vec![format!("jwt:{name}#{subject}"), names(*set)]),
            );
        }
        callers.sort();
        callers
    }
}

/// Rows of cells as a table in Markdown; the first row is its head.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0).max(3)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("| {cell:width$} "));
        }
        text.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("|{:-<1$}", "", width + 2)));
            text.push_str("|\n");
        }
    }
    text
}
