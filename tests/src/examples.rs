//! The worked examples of docs/coming-from-sqlalchemy.md. A test compares them with that page,
//! applies and reverts them on both engines.

use bookstore_migration::revision::{
    Backfill, Question, Rebuild, Revision, backfill, postgres, rebuild, sql, sqlite,
};

/// The examples. Each one applies after the one before.
pub fn examples() -> Vec<Revision> {
    let list = [
        drop_not_null(),
        seed(),
        expand(),
        fill(),
        set_not_null(),
        copy_before_drop(),
        unique(),
        concurrent_index(),
    ];
    let mut parent = None;
    let mut examples = Vec::new();
    for mut revision in list {
        revision.parent = parent.replace(revision.name.clone());
        examples.push(revision);
    }
    examples
}

fn drop_not_null() -> Revision {
    // example: batch ALTER
    Revision::new("m29990201_000001_allow_items_without_status", "allow items without a status")
        .up([
            postgres(r#"ALTER TABLE "items" ALTER COLUMN "status" DROP NOT NULL"#),
            rebuild(Rebuild::of("items").drop_not_null("status")),
        ])
        .down([
            postgres(r#"ALTER TABLE "items" ALTER COLUMN "status" SET NOT NULL"#),
            rebuild(Rebuild::of("items").set_not_null("status")),
        ])
    // end
}

fn seed() -> Revision {
    // example: seeding
    Revision::new("m29990201_000002_seed_poetry", "seed a category")
        .up([
            postgres(
                r#"INSERT INTO "categories" ("id", "name")
                   VALUES ('01930000-0000-7000-8000-000000000006', 'Poetry') ON CONFLICT DO NOTHING"#,
            ),
            sqlite(
                r#"INSERT INTO "categories" ("id", "name")
                   VALUES (X'01930000000070008000000000000006', 'Poetry') ON CONFLICT DO NOTHING"#,
            ),
        ])
        .down([sql(r#"DELETE FROM "categories" WHERE "name" = 'Poetry'"#)])
    // end
}

fn expand() -> Revision {
    // example: expand
    Revision::new("m29990201_000003_add_slug", "add posts.slug, which may be NULL")
        .up([sql(r#"ALTER TABLE "posts" ADD COLUMN "slug" {text}"#)])
        .down([sql(r#"ALTER TABLE "posts" DROP COLUMN "slug""#)])
    // end
}

fn fill() -> Revision {
    // example: data migration
    Revision::new("m29990201_000004_fill_slug", "fill posts.slug")
        .up([backfill(
            Backfill::of("posts")
                .set(r#""slug" = lower(replace("title", ' ', '-'))"#)
                .only(r#""slug" IS NULL"#),
        )
        .outside_transaction()])
        .down([sql("SELECT 1")])
    // end
}

fn set_not_null() -> Revision {
    // example: NOT NULL in steps
    Revision::new("m29990201_000005_require_slug", "posts.slug is required")
        .up([
            postgres(
                r#"ALTER TABLE "posts" ADD CONSTRAINT "posts_slug_check"
                   CHECK ("slug" IS NOT NULL) NOT VALID"#,
            )
            .ask(Question::no_nulls("posts", "slug")),
            postgres(r#"ALTER TABLE "posts" VALIDATE CONSTRAINT "posts_slug_check""#)
                .outside_transaction(),
            postgres(
                r#"ALTER TABLE "posts" ALTER COLUMN "slug" SET NOT NULL;
                   ALTER TABLE "posts" DROP CONSTRAINT "posts_slug_check""#,
            ),
            rebuild(Rebuild::of("posts").set_not_null("slug"))
                .ask(Question::no_nulls("posts", "slug")),
        ])
        .down([
            postgres(r#"ALTER TABLE "posts" ALTER COLUMN "slug" DROP NOT NULL"#),
            postgres("SELECT 1"),
            postgres(r#"ALTER TABLE "posts" DROP CONSTRAINT IF EXISTS "posts_slug_check""#),
            rebuild(Rebuild::of("posts").drop_not_null("slug")),
        ])
    // end
}

fn copy_before_drop() -> Revision {
    // example: copy before drop
    Revision::new("m29990201_000006_move_bio", "move users.bio to user_profiles, and drop it")
        .minimum_head("m29990201_000006_move_bio")
        .up([
            sql(
                r#"CREATE TABLE "user_profiles" (
                    "user_id" {uuid} NOT NULL,
                    "bio" {text} NOT NULL,
                    CONSTRAINT "user_profiles_pkey" PRIMARY KEY ("user_id"),
                    CONSTRAINT "user_profiles_user_id_fkey" FOREIGN KEY ("user_id")
                        REFERENCES "users" ("id") ON DELETE CASCADE
                );
                INSERT INTO "user_profiles" ("user_id", "bio")
                    SELECT "id", "bio" FROM "users" WHERE "bio" IS NOT NULL"#,
            ),
            postgres(r#"ALTER TABLE "users" DROP COLUMN "bio""#),
            rebuild(Rebuild::of("users").drop_constraint("users_bio_check").drop_column("bio")),
        ])
        .down([
            sql(r#"ALTER TABLE "users" ADD COLUMN "bio" {text}"#),
            sql(
                r#"UPDATE "users" SET "bio" = (
                    SELECT "bio" FROM "user_profiles" WHERE "user_id" = "users"."id"
                );
                DROP TABLE "user_profiles""#,
            )
            .derived(),
            postgres(
                r#"ALTER TABLE "users" ADD CONSTRAINT "users_bio_check" CHECK (length("bio") <= 1000)"#,
            ),
            rebuild(Rebuild::of("users").add_constraint(
                r#"CONSTRAINT "users_bio_check" CHECK (length("bio") <= 1000)"#,
            )),
        ])
    // end
}

fn unique() -> Revision {
    // example: unique after duplicates
    Revision::new("m29990201_000007_unique_item_names", "items have names of their own")
        .up([
            sql(
                r#"DELETE FROM "items" WHERE EXISTS (
                    SELECT 1 FROM "items" AS "older" WHERE "older"."name" = "items"."name"
                        AND ("older"."created_at", "older"."id") < ("items"."created_at", "items"."id")
                )"#,
            ),
            sql(r#"CREATE UNIQUE INDEX "items_name_key" ON "items" ("name")"#),
        ])
        .down([sql(r#"DROP INDEX "items_name_key""#)])
    // end
}

fn concurrent_index() -> Revision {
    // example: an index CONCURRENTLY
    Revision::new("m29990201_000008_index_slug", "index posts.slug")
        .up([
            postgres(r#"CREATE INDEX CONCURRENTLY "posts_slug_idx" ON "posts" ("slug")"#)
                .outside_transaction(),
            sqlite(r#"CREATE INDEX "posts_slug_idx" ON "posts" ("slug")"#),
        ])
        .down([
            postgres(r#"DROP INDEX CONCURRENTLY "posts_slug_idx""#).outside_transaction(),
            sqlite(r#"DROP INDEX "posts_slug_idx""#),
        ])
    // end
}
