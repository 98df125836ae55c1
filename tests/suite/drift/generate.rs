//! What the generator writes for a change of the model, on both engines. Each plan is proven: it
//! goes up to the wanted schema and down to the old one.

use bookstore_migration::{
    catalog::Catalog,
    chain::Chain,
    drift::Renames,
    generate::{
        Answers, PlannedAction, ProofError, RevisionPlan, plan, prove, scratch_schema, source,
        steps,
    },
    revision::{Engine as Dialect, Revision},
    session::{MigrationSession, Opener},
};
use bookstore_tests::{Database, Engine, on_every_engine};
use sea_orm::{ConnectionTrait, DbErr};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use super::migrated;

on_every_engine!(
    generated_steps_match_the_change,
    a_likely_rename_is_a_question,
    an_incomplete_plan_fails_its_proof
);

/// Where plans are tried.
pub(super) struct Place(pub(super) Database);

#[async_trait::async_trait]
impl Opener for Place {
    fn engine(&self) -> Dialect {
        match self.0.engine() {
            Engine::Postgres => Dialect::Postgres,
            Engine::Sqlite => Dialect::Sqlite,
        }
    }

    fn file(&self) -> Option<std::path::PathBuf> {
        None
    }

    async fn open(&self) -> Result<MigrationSession, DbErr> {
        self.open_scratch().await
    }

    async fn open_scratch(&self) -> Result<MigrationSession, DbErr> {
        if self.engine() == Dialect::Sqlite {
            let connection = SqliteConnection::connect("sqlite::memory:").await;
            let session = MigrationSession::sqlite(connection.expect("a database in memory"));
            session.execute_unprepared("PRAGMA foreign_keys = OFF").await?;
            return Ok(session);
        }
        let connection = PgConnection::connect(&self.0.owner_url()).await;
        Ok(MigrationSession::postgres(connection.expect("a session of the owner")))
    }
}

/// The plan for a change that SQL makes of the head, with both schemas.
pub(super) async fn planned(
    place: &Place,
    change: &str,
    answers: &Answers,
) -> (Catalog, Catalog, RevisionPlan) {
    let chain = Chain::released().expect("a chain");
    let schema = async |sql| {
        let schema = scratch_schema(place, chain.revisions(), sql).await;
        schema.unwrap_or_else(|error| panic!("{change}: {error}"))
    };
    let (from, to) = (schema("").await, schema(change).await);
    let plan = plan(&from, &to, answers);
    (from, to, plan)
}

/// Applies a plan and reverts it where nothing stays.
pub(super) async fn proven(
    place: &Place,
    from: &Catalog,
    to: &Catalog,
    plan: &RevisionPlan,
) -> Result<(), ProofError> {
    let chain = Chain::released().expect("a chain");
    let (up, down) = steps(place.engine(), &plan.pairs);
    let revision = Revision::new("m29990101_000001_change", "a change").up(up).down(down);
    let head = &chain.head().expect("a head").name;
    prove(place, chain.revisions(), &revision.after(head), from, to).await
}

/// A change, what it says, and the parts of the steps up and down in their order.
struct Change {
    sql: [&'static str; 2],
    fill: Option<&'static str>,
    postgres: &'static [&'static str],
    sqlite: &'static [&'static str],
}

const CHANGES: &[Change] = &[
    // A field.
    Change {
        sql: [
            r#"ALTER TABLE "posts" ADD COLUMN "subtitle" text COLLATE "C""#,
            r#"ALTER TABLE "posts" ADD COLUMN "subtitle" text"#,
        ],
        fill: None,
        postgres: &[
            r#"ALTER TABLE "posts" ADD COLUMN "subtitle" text"#,
            r#"// Data loss: posts.subtitle with its values."#,
            r#"ALTER TABLE "posts" DROP COLUMN "subtitle""#,
        ],
        sqlite: &[
            r#"sqlite(r#"ALTER TABLE "posts" ADD COLUMN "subtitle" text"#,
            r#"// Data loss: posts.subtitle with its values."#,
            r#"sqlite(r#"ALTER TABLE "posts" DROP COLUMN "subtitle""#,
        ],
    },
    // One that must not be NULL, with a constant: one step that rewrites nothing.
    Change {
        sql: [r#"ALTER TABLE "posts" ADD COLUMN "rank" integer NOT NULL DEFAULT 7"#; 2],
        fill: None,
        postgres: &[
            r#"postgres(r#"ALTER TABLE "posts" ADD COLUMN "rank" integer NOT NULL DEFAULT 7"#,
        ],
        sqlite: &[r#"sqlite(r#"ALTER TABLE "posts" ADD COLUMN "rank" integer NOT NULL DEFAULT 7"#],
    },
    // One that must not be NULL, with a default that is another for each row: in steps, too.
    Change {
        sql: [
            r#"ALTER TABLE "categories" ADD COLUMN "token" uuid NOT NULL DEFAULT gen_random_uuid()"#,
            r#"ALTER TABLE "categories" ADD COLUMN "token" integer NOT NULL DEFAULT 7"#,
        ],
        fill: None,
        postgres: &[
            r#"ADD COLUMN "token" uuid;"#,
            r#"ALTER COLUMN "token" SET DEFAULT gen_random_uuid()"#,
            r#"backfill(Backfill::of("categories").set(r#""token" = gen_random_uuid()"#,
            r#"CHECK ("token" IS NOT NULL) NOT VALID"#,
            r#"VALIDATE CONSTRAINT "categories_token_not_null""#,
            r#"ALTER COLUMN "token" SET NOT NULL"#,
        ],
        sqlite: &[r#"ADD COLUMN "token" integer NOT NULL DEFAULT 7"#],
    },
    // One that must not be NULL, with a computed value: in steps.
    Change {
        sql: [
            r#"ALTER TABLE "categories" ADD COLUMN "slug" text COLLATE "C" NOT NULL DEFAULT '-';
               ALTER TABLE "categories" ALTER COLUMN "slug" DROP DEFAULT"#,
            r#"PRAGMA legacy_alter_table = ON;
               ALTER TABLE "categories" RENAME TO "old";
               PRAGMA legacy_alter_table = OFF;
               CREATE TABLE "categories" (
                "id" uuid_text NOT NULL, "name" text NOT NULL, "description" text,
                "created_at" timestamp_with_timezone_text NOT NULL DEFAULT (replace(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'), '.000+', '+')),
                "updated_at" timestamp_with_timezone_text NOT NULL DEFAULT (replace(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'), '.000+', '+')),
                "version" bigint NOT NULL DEFAULT 1, "slug" text NOT NULL,
                CONSTRAINT "categories_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "categories_name_key" UNIQUE ("name"),
                CONSTRAINT "categories_name_check" CHECK (length("name") BETWEEN 1 AND 255),
                CONSTRAINT "categories_description_check" CHECK (length("description") <= 10000)
               );
               DROP TABLE "old";
               CREATE INDEX "categories_name_id_idx" ON "categories" ("name", "id");
               CREATE INDEX "categories_created_at_id_idx" ON "categories" ("created_at", "id")"#,
        ],
        fill: Some(r#"lower("name")"#),
        postgres: &[
            r#"postgres(r#"ALTER TABLE "categories" ADD COLUMN "slug" text"#,
            r#"backfill(Backfill::of("categories").set(r#""slug" = lower("name")"#,
            r#"CHECK ("slug" IS NOT NULL) NOT VALID"#,
            r#"VALIDATE CONSTRAINT "categories_slug_not_null""#,
            r#"ALTER COLUMN "slug" SET NOT NULL"#,
        ],
        sqlite: &[
            r#"rebuild(Rebuild::of("categories").define("#,
            r#".copy("slug", r#"lower("name")"#,
        ],
    },
    // An index of a table that exists.
    Change {
        sql: [r#"CREATE INDEX "posts_version_idx" ON "posts" ("version" DESC)"#; 2],
        fill: None,
        postgres: &[
            "CREATE INDEX CONCURRENTLY posts_version_idx",
            ".outside_transaction()",
            r#"DROP INDEX CONCURRENTLY "posts_version_idx""#,
        ],
        sqlite: &[
            r#"sqlite(r#"CREATE INDEX "posts_version_idx""#,
            r#"DROP INDEX "posts_version_idx""#,
        ],
    },
    // A CHECK, and on SQLite one of a new column.
    Change {
        sql: [
            r#"ALTER TABLE "posts" ADD CONSTRAINT "posts_version_check" CHECK ("version" > 0)"#,
            r#"ALTER TABLE "posts" ADD COLUMN "tone" text CONSTRAINT "posts_tone_check" CHECK (length("tone") < 9)"#,
        ],
        fill: None,
        postgres: &[
            r#"ADD CONSTRAINT "posts_version_check" CHECK ((version > 0)) NOT VALID"#,
            r#"VALIDATE CONSTRAINT "posts_version_check""#,
        ],
        sqlite: &[
            r#"ALTER TABLE "posts" ADD COLUMN "tone" text CONSTRAINT "posts_tone_check" CHECK (length("tone") < 9)"#,
        ],
    },
    // Tables: the one that another points to comes first, whatever their names.
    Change {
        sql: [r#"CREATE TABLE "zones" ("id" integer NOT NULL, CONSTRAINT "zones_pkey" PRIMARY KEY ("id"));
               CREATE TABLE "areas" ("zone_id" integer, CONSTRAINT "areas_zone_id_fkey" FOREIGN KEY ("zone_id") REFERENCES "zones" ("id"));
               CREATE INDEX "areas_zone_id_idx" ON "areas" ("zone_id")"#; 2],
        fill: None,
        postgres: &[
            r#"CREATE TABLE "zones""#,
            r#"CREATE INDEX areas_zone_id_idx"#,
            r#"ADD CONSTRAINT "areas_zone_id_fkey""#,
            r#"DROP CONSTRAINT "areas_zone_id_fkey""#,
            r#"// Data loss: zones with its rows."#,
        ],
        sqlite: &[
            r#"CREATE TABLE "areas""#,
            r#"CREATE INDEX "areas_zone_id_idx""#,
            r#"// Data loss:"#,
        ],
    },
    // What goes takes rows with it.
    Change {
        sql: [
            r#"ALTER TABLE "users" DROP COLUMN "bio""#,
            r#"ALTER TABLE "carts" DROP COLUMN "version""#,
        ],
        fill: None,
        postgres: &[r#"// Data loss: users.bio with its values."#, r#"DROP COLUMN "bio""#],
        sqlite: &[
            r#"// Data loss: carts.version with its values."#,
            r#"sqlite(r#"ALTER TABLE "carts" DROP COLUMN "version""#,
            r#"sqlite(r#"ALTER TABLE "carts" ADD COLUMN "version" bigint NOT NULL DEFAULT 1"#,
        ],
    },
];

async fn generated_steps_match_the_change(engine: Engine) {
    let place = Place(migrated(engine).await);
    for change in CHANGES {
        let (sql, parts) = match engine {
            Engine::Postgres => (change.sql[0], change.postgres),
            Engine::Sqlite => (change.sql[1], change.sqlite),
        };
        if change.fill.is_some() {
            let (_, _, open) = planned(&place, sql, &Answers::default()).await;
            assert_eq!(open.questions.len(), 1, "{:?}", open.questions);
            assert!(open.questions[0].contains("categories.slug"), "{:?}", open.questions);
            assert_eq!(open.pairs, []);
        }
        let fills = change
            .fill
            .iter()
            .map(|value| ("categories".to_owned(), "slug".to_owned(), (*value).to_owned()));
        let answers = Answers { fills: fills.collect(), ..Answers::default() };
        let (from, to, plan) = planned(&place, sql, &answers).await;
        assert_eq!(plan.questions, Vec::<String>::new(), "{sql}");
        let source = source(&[(place.engine(), plan.pairs.clone())]);
        let text = source.up + &source.down;
        let mut rest = text.as_str();
        for part in parts {
            let at = rest.find(part);
            let at = at.unwrap_or_else(|| panic!("{part} isn't in its place of\n{text}"));
            rest = &rest[at + part.len()..];
        }
        let proven = proven(&place, &from, &to, &plan).await;
        assert!(proven.is_ok(), "{sql}: {proven:?}\n{text}");
    }
}

/// What looks like another name is asked, and never guessed.
async fn a_likely_rename_is_a_question(engine: Engine) {
    let place = Place(migrated(engine).await);
    let sql = r#"ALTER TABLE "posts" RENAME COLUMN "content" TO "body""#;
    let (_, _, open) = planned(&place, sql, &Answers::default()).await;
    assert_eq!((open.questions.len(), open.pairs.len()), (1, 0), "{open:?}");
    assert!(open.questions[0].contains("--rename posts.content:posts.body"), "{open:?}");
    let mut renames = Renames::default();
    renames.columns.insert(("posts".to_owned(), "content".to_owned()), "body".to_owned());
    let answers = Answers { renames, ..Answers::default() };
    let (from, to, plan) = planned(&place, sql, &answers).await;
    let [pair] = plan.pairs.as_slice() else { panic!("one step: {plan:?}") };
    let up = PlannedAction::Sql(sql.to_owned());
    let down =
        PlannedAction::Sql(r#"ALTER TABLE "posts" RENAME COLUMN "body" TO "content""#.to_owned());
    assert_eq!((&pair.up, &pair.down), (&up, &down));
    proven(&place, &from, &to, &plan).await.expect("a proof");
}

/// Steps that leave a difference, up or down, are found out.
async fn an_incomplete_plan_fails_its_proof(engine: Engine) {
    let place = Place(migrated(engine).await);
    let sql = r#"CREATE INDEX "posts_version_idx" ON "posts" ("version")"#;
    let (from, to, mut plan) = planned(&place, sql, &Answers::default()).await;
    let whole = plan.clone();
    plan.pairs[0].down = PlannedAction::Nothing;
    let error = proven(&place, &from, &to, &plan).await.expect_err("the index stays");
    assert!(matches!(error, ProofError::Difference { direction: "down", .. }), "{error}");
    assert!(error.to_string().contains("posts_version_idx"), "{error}");
    plan.pairs.clear();
    let error = proven(&place, &from, &to, &plan).await.expect_err("no index");
    assert!(matches!(error, ProofError::Difference { direction: "up", .. }), "{error}");
    proven(&place, &from, &to, &whole).await.expect("a proof");
}
