//! The history of timelines: which positions a promotion has kept (PostgreSQL, 26.3.6. Timelines).

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::{error::StoreError, position::parse_lsn, session::connection::Connection};

/// The ancestors of a timeline, each with the position at which the next one left it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineHistory(Vec<(u32, u64)>);

impl TimelineHistory {
    /// Reads a timeline history file (PostgreSQL, 26.3.6. Timelines).
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim);
        let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let branch = |line: &str| {
            let mut parts = line.split_whitespace();
            Some((parts.next()?.parse().ok()?, parse_lsn(parts.next()?)?))
        };
        entries.map(branch).collect::<Option<Vec<_>>>().map(Self)
    }

    /// The position at which a timeline was left; `None` if it is no ancestor.
    pub fn left_at(&self, timeline: u32) -> Option<u64> {
        self.0.iter().find(|(branch, _)| *branch == timeline).map(|(_, at)| *at)
    }
}

/// Reads the history of a timeline from a node on it; `None` if there is none. A function of the
/// schema's owner reads the file, since other roles may not.
///
/// # Errors
/// What the database answers.
pub(crate) async fn read(
    connection: &Connection,
    timeline: u32,
) -> Result<Option<TimelineHistory>, StoreError> {
    let sql = "SELECT bookstore_timeline_history($1)";
    let values = [Value::from(i64::from(timeline))];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let row = connection.query_one_raw(statement).await?;
    let text: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    Ok(text.and_then(|text| TimelineHistory::parse(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_read() {
        let text = "1\t0/3000158\tno recovery target specified\n\n2\t0/5000000\tbefore 2026\n";
        let history = TimelineHistory::parse(text).unwrap();
        assert_eq!(history.left_at(1), Some(0x300_0158));
        assert_eq!(history.left_at(2), Some(0x500_0000));
        assert_eq!(history.left_at(3), None);
        assert_eq!(TimelineHistory::parse("nonsense"), None);
    }
}
