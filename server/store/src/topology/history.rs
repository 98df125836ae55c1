//! Where branches of history left each other: which positions survived a promotion.

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::{error::StoreError, position::parse_lsn, session::connection::Connection};

/// The branches that led to one: each with the position at which it was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<(u32, u64)>);

impl History {
    /// Reads a timeline history file (PostgreSQL, 26.3.6. Timelines).
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim);
        let description = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let branch = |line: &str| {
            let mut parts = line.split_whitespace();
            Some((parts.next()?.parse().ok()?, parse_lsn(parts.next()?)?))
        };
        description.map(branch).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Where a branch was left; none if it didn't lead here.
    pub fn left_at(&self, timeline: u32) -> Option<u64> {
        self.0.iter().find(|(branch, _)| *branch == timeline).map(|(_, at)| *at)
    }
}

/// Asks a node on a branch for its history; none where it may not be read. A function of the
/// schema's owner does it, since plain roles read no files.
///
/// # Errors
/// If the node can't be asked.
pub(crate) async fn read(
    connection: &Connection,
    timeline: u32,
) -> Result<Option<History>, StoreError> {
    let sql = "SELECT bookstore_timeline_history($1)";
    let values = [Value::from(i64::from(timeline))];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let row = connection.query_one_raw(statement).await?;
    let text: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    Ok(text.and_then(|text| History::parse(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_read() {
        let text = "1\t0/3000158\tno recovery target specified\n\n2\t0/5000000\tbefore 2026\n";
        let history = History::parse(text).unwrap();
        assert_eq!(history.left_at(1), Some(0x300_0158));
        assert_eq!(history.left_at(2), Some(0x500_0000));
        assert_eq!(history.left_at(3), None);
        assert_eq!(History::parse("nonsense"), None);
    }
}
