-- Views of the tables whose ids are texts, for a database browser and for sqlite3:
--
--   sqlite3 -init deploy/sqlite/text-ids.sql bookstore.db "SELECT id, title FROM books_text"
--
-- They are temporary: they are gone with the connection and change nothing in the database.
--
-- A condition on an id of a view reads the whole table, and a join of views is slow in a large file. A
-- condition on the table walks its index:
--
--   SELECT title FROM books WHERE id = unhex('01930000-0000-7000-8000-000000010020', '-');
--
-- unhex is there from SQLite 3.41 on. Before, write x'...' with the digits of the id.

CREATE TEMP VIEW IF NOT EXISTS "categories_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    "name",
    "description",
    "created_at",
    "updated_at",
    "version"
FROM "categories";

CREATE TEMP VIEW IF NOT EXISTS "books_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    "title",
    "author",
    "description",
    "price_micros",
    "currency_code",
    "stock",
    nullif(lower(substr(hex("category_id"), 1, 8) || '-' || substr(hex("category_id"), 9, 4) || '-' || substr(hex("category_id"), 13, 4) || '-' || substr(hex("category_id"), 17, 4) || '-' || substr(hex("category_id"), 21, 12)), '----') AS "category_id",
    "cover_image",
    "attributes",
    "created_at",
    "updated_at",
    "version"
FROM "books";

CREATE TEMP VIEW IF NOT EXISTS "items_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    "name",
    "status",
    "payload",
    "created_at",
    "updated_at",
    "version"
FROM "items";

CREATE TEMP VIEW IF NOT EXISTS "users_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    "email",
    "username",
    "full_name",
    "password_hash",
    "is_active",
    "role",
    "avatar_url",
    "bio",
    "created_at",
    "updated_at",
    "version"
FROM "users";

CREATE TEMP VIEW IF NOT EXISTS "posts_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    "title",
    "content",
    nullif(lower(substr(hex("author_id"), 1, 8) || '-' || substr(hex("author_id"), 9, 4) || '-' || substr(hex("author_id"), 13, 4) || '-' || substr(hex("author_id"), 17, 4) || '-' || substr(hex("author_id"), 21, 12)), '----') AS "author_id",
    "created_at",
    "updated_at",
    "version"
FROM "posts";

CREATE TEMP VIEW IF NOT EXISTS "reviews_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    nullif(lower(substr(hex("user_id"), 1, 8) || '-' || substr(hex("user_id"), 9, 4) || '-' || substr(hex("user_id"), 13, 4) || '-' || substr(hex("user_id"), 17, 4) || '-' || substr(hex("user_id"), 21, 12)), '----') AS "user_id",
    nullif(lower(substr(hex("book_id"), 1, 8) || '-' || substr(hex("book_id"), 9, 4) || '-' || substr(hex("book_id"), 13, 4) || '-' || substr(hex("book_id"), 17, 4) || '-' || substr(hex("book_id"), 21, 12)), '----') AS "book_id",
    "rating",
    "comment",
    "created_at",
    "updated_at",
    "version"
FROM "reviews";

CREATE TEMP VIEW IF NOT EXISTS "carts_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    nullif(lower(substr(hex("user_id"), 1, 8) || '-' || substr(hex("user_id"), 9, 4) || '-' || substr(hex("user_id"), 13, 4) || '-' || substr(hex("user_id"), 17, 4) || '-' || substr(hex("user_id"), 21, 12)), '----') AS "user_id",
    "created_at",
    "updated_at",
    "version"
FROM "carts";

CREATE TEMP VIEW IF NOT EXISTS "cart_items_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    nullif(lower(substr(hex("cart_id"), 1, 8) || '-' || substr(hex("cart_id"), 9, 4) || '-' || substr(hex("cart_id"), 13, 4) || '-' || substr(hex("cart_id"), 17, 4) || '-' || substr(hex("cart_id"), 21, 12)), '----') AS "cart_id",
    nullif(lower(substr(hex("book_id"), 1, 8) || '-' || substr(hex("book_id"), 9, 4) || '-' || substr(hex("book_id"), 13, 4) || '-' || substr(hex("book_id"), 17, 4) || '-' || substr(hex("book_id"), 21, 12)), '----') AS "book_id",
    "quantity",
    "created_at",
    "updated_at",
    "version"
FROM "cart_items";

CREATE TEMP VIEW IF NOT EXISTS "orders_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    nullif(lower(substr(hex("user_id"), 1, 8) || '-' || substr(hex("user_id"), 9, 4) || '-' || substr(hex("user_id"), 13, 4) || '-' || substr(hex("user_id"), 17, 4) || '-' || substr(hex("user_id"), 21, 12)), '----') AS "user_id",
    "status",
    "total_micros",
    "currency_code",
    "shipping_address",
    "created_at",
    "updated_at",
    "version"
FROM "orders";

CREATE TEMP VIEW IF NOT EXISTS "order_items_text" AS SELECT
    nullif(lower(substr(hex("id"), 1, 8) || '-' || substr(hex("id"), 9, 4) || '-' || substr(hex("id"), 13, 4) || '-' || substr(hex("id"), 17, 4) || '-' || substr(hex("id"), 21, 12)), '----') AS "id",
    nullif(lower(substr(hex("order_id"), 1, 8) || '-' || substr(hex("order_id"), 9, 4) || '-' || substr(hex("order_id"), 13, 4) || '-' || substr(hex("order_id"), 17, 4) || '-' || substr(hex("order_id"), 21, 12)), '----') AS "order_id",
    nullif(lower(substr(hex("book_id"), 1, 8) || '-' || substr(hex("book_id"), 9, 4) || '-' || substr(hex("book_id"), 13, 4) || '-' || substr(hex("book_id"), 17, 4) || '-' || substr(hex("book_id"), 21, 12)), '----') AS "book_id",
    "quantity",
    "price_micros",
    "created_at",
    "updated_at",
    "version"
FROM "order_items";

CREATE TEMP VIEW IF NOT EXISTS "idempotency_keys_text" AS SELECT
    "principal",
    nullif(lower(substr(hex("key"), 1, 8) || '-' || substr(hex("key"), 9, 4) || '-' || substr(hex("key"), 13, 4) || '-' || substr(hex("key"), 17, 4) || '-' || substr(hex("key"), 21, 12)), '----') AS "key",
    "method",
    "request_mark",
    "answer",
    "created_at"
FROM "idempotency_keys";
