//! The random key that seals page tokens: one row, made here, the same for every instance.

use crate::revision::{Revision, sql};

/// The revision.
pub(super) fn revision() -> Revision {
    Revision::new("m20261121_000001_create_sealing_keys", "create the key that seals page tokens")
        .up([sql(r#"
            CREATE TABLE "sealing_keys" (
                "id" smallint NOT NULL,
                "key" {bytes} NOT NULL,
                CONSTRAINT "sealing_keys_pkey" PRIMARY KEY ("id"),
                CONSTRAINT "sealing_keys_id_check" CHECK ("id" = 1),
                CONSTRAINT "sealing_keys_key_check" CHECK (length("key") = 32)
            );
            INSERT INTO "sealing_keys" ("id", "key") VALUES (1, {random_32_bytes});
            "#)])
        .down([sql(r#"DROP TABLE "sealing_keys""#)])
}
