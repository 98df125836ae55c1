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

impl Engine {
    /// The numbers from `first` to `last` for an `INSERT … SELECT`: what stands before the `INSERT`, and
    /// what stands behind `FROM`. The column is `n`.
    pub fn numbers(self, first: u32, last: u32) -> (String, String) {
        match self {
            Engine::Sqlite => (
                format!(
                    "WITH RECURSIVE numbers (n) AS
                        (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})"
                ),
                "numbers".to_owned(),
            ),
            Engine::Postgres => {
                (String::new(), format!("generate_series({first}, {last}) AS numbers (n)"))
            }
        }
    }
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

    crate::on_every_engine!(both, not_postgres except postgres, not_sqlite except sqlite);

    /// Only its tests' names count.
    async fn both(_: Engine) {}

    async fn not_postgres(engine: Engine) {
        assert_eq!(engine, Engine::Sqlite);
    }

    async fn not_sqlite(engine: Engine) {
        assert_eq!(engine, Engine::Postgres);
    }

    #[test]
    fn case_with_except_has_one_test_and_others_two() {
        let this = std::env::current_exe().expect("the path of this program");
        let output = std::process::Command::new(this).arg("--list").output().expect("a list");
        let output = String::from_utf8(output.stdout).expect("text");
        let prefix = concat!(module_path!(), "::").split_once("::").expect("a path").1;
        let cases = output.lines().filter_map(|line| line.strip_prefix(prefix));
        let mut cases: Vec<_> = cases.filter(|line| line.contains("::")).collect();
        cases.sort_unstable();
        let expected =
            ["both::postgres", "both::sqlite", "not_postgres::sqlite", "not_sqlite::postgres"];
        assert_eq!(cases, expected.map(|name| format!("{name}: test")));
    }
}
