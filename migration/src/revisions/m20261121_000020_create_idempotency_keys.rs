//! The keys under which writes happen once, each with the answer of its write. A key without
//! an answer is fenced off: its write must not happen any more.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000020_create_idempotency_keys", "create the keys under which writes happen once")
        .after("m20261121_000009_create_orders")
        .up([
            sql(
                r#"
            CREATE TABLE "idempotency_keys" (
                "principal" {text} NOT NULL,
                "key" {uuid} NOT NULL,
                "method" {text} NOT NULL,
                "request_mark" {bytes},
                "answer" {bytes},
                "created_at" {time} NOT NULL DEFAULT {now},
                CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("principal", "key"),
                CONSTRAINT "idempotency_keys_answer_check" CHECK (("request_mark" IS NULL) = ("answer" IS NULL))
            );
            CREATE INDEX "idempotency_keys_created_at_idx" ON "idempotency_keys" ("created_at");
            "#,
            ),
        ])
        .down([
            sql(r#"DROP TABLE "idempotency_keys""#),
        ])
}
