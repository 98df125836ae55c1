//! The engines that the suite runs on, and the macro that makes a test of a case for each.

/// A database engine that the service supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A SQLite file for one test. The program migrates it at its start.
    Sqlite,
    /// A database for one test in the run's PostgreSQL cluster, copied from a migrated template.
    /// The program connects as a plain application role.
    Postgres,
}

/// Makes tests of cases: `async fn case(engine: Engine)` becomes `case::sqlite`
/// and `case::postgres`.
///
/// `on_every_engine!(one, two except postgres)` excludes an engine. The reason must be in the
/// suite's table of exceptions, which a test compares.
#[macro_export]
macro_rules! on_every_engine {
    ($($case:ident $(except $engine:ident)?),+ $(,)?) => {
        $(mod $case {
            $crate::on_every_engine!(@sqlite $case $(except $engine)?);
            $crate::on_every_engine!(@postgres $case $(except $engine)?);
        })+
    };
    (@sqlite $case:ident except sqlite) => {};
    (@sqlite $case:ident $(except postgres)?) => {
        #[tokio::test]
        async fn sqlite() {
            super::$case($crate::Engine::Sqlite).await;
        }
    };
    (@postgres $case:ident except postgres) => {};
    (@postgres $case:ident $(except sqlite)?) => {
        #[tokio::test]
        async fn postgres() {
            super::$case($crate::Engine::Postgres).await;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::on_every_engine!(
        case_without_exception_runs_on_both_engines,
        case_except_postgres_runs_on_sqlite except postgres,
        case_except_sqlite_runs_on_postgres except sqlite,
    );

    async fn case_without_exception_runs_on_both_engines(engine: Engine) {
        assert!(matches!(engine, Engine::Sqlite | Engine::Postgres));
    }

    async fn case_except_postgres_runs_on_sqlite(engine: Engine) {
        assert_eq!(engine, Engine::Sqlite);
    }

    async fn case_except_sqlite_runs_on_postgres(engine: Engine) {
        assert_eq!(engine, Engine::Postgres);
    }
}
