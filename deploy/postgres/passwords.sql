-- Gives the roles of roles.sql the passwords that stand in the URLs of the secrets,
-- which both have the form postgres://USER:PASSWORD@HOST/DATABASE. For compose.yml.

\set owner `sed 's|^[^:]*://[^:]*:\([^@]*\)@.*$|\1|' /run/secrets/owner_url`
\set app `sed 's|^[^:]*://[^:]*:\([^@]*\)@.*$|\1|' /run/secrets/app_url`
\set reader `sed 's|^[^:]*://[^:]*:\([^@]*\)@.*$|\1|' /run/secrets/reader_url`
ALTER ROLE bookstore_owner PASSWORD :'owner';
ALTER ROLE bookstore_app PASSWORD :'app';
ALTER ROLE bookstore_reader PASSWORD :'reader';
