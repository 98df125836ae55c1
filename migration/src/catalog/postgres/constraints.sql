-- Keys, foreign keys, CHECKs and exclusions of tables. NOT NULL is the column's own.
SELECT
    CASE k.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key'
        WHEN 'c' THEN 'check' ELSE 'exclusion' END,
    c.relname::text, k.conname::text, f.facet, f.value
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
CROSS JOIN LATERAL (VALUES
    ('columns', CASE WHEN k.contype IN ('p', 'u', 'f') THEN (
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n.place)
        FROM unnest(k.conkey) WITH ORDINALITY n (number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.number) END),
    ('include', (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n.place)
        FROM unnest(i.indkey::smallint[]) WITH ORDINALITY n (number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.number
        WHERE n.place > i.indnkeyatts)),
    ('nulls', CASE WHEN i.indnullsnotdistinct THEN 'NULLS NOT DISTINCT' END),
    ('periods', CASE WHEN (to_jsonb(k) ->> 'conperiod')::boolean THEN 'YES' END),
    ('expression', CASE k.contype WHEN 'c' THEN pg_get_expr(k.conbin, k.conrelid) END),
    ('definition', CASE k.contype WHEN 'x' THEN pg_get_constraintdef(k.oid) END),
    ('references', CASE k.contype WHEN 'f' THEN k.confrelid::regclass::text END),
    ('referenced_columns', CASE k.contype WHEN 'f' THEN (
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n.place)
        FROM unnest(k.confkey) WITH ORDINALITY n (number, place)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.number) END),
    ('match', CASE k.confmatchtype WHEN 'f' THEN 'FULL' WHEN 'p' THEN 'PARTIAL' END),
    ('on_update', CASE k.confupdtype WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL'
        WHEN 'd' THEN 'SET DEFAULT' END),
    ('on_delete', CASE k.confdeltype WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL'
        WHEN 'd' THEN 'SET DEFAULT' END || coalesce(' (' || (
            SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.confdelsetcols)) || ')', '')),
    ('deferrable', CASE WHEN k.condeferred THEN 'DEFERRABLE INITIALLY DEFERRED' WHEN k.condeferrable THEN 'DEFERRABLE' END),
    ('validity', CASE WHEN NOT k.convalidated THEN 'NOT VALID' END),
    ('enforcement', CASE WHEN NOT (to_jsonb(k) ->> 'conenforced')::boolean THEN 'NOT ENFORCED' END),
    ('inheritance', CASE WHEN k.connoinherit AND k.contype = 'c' THEN 'NO INHERIT' END),
    ('inherited', CASE WHEN NOT k.conislocal THEN 'YES' END),
    ('index_validity', CASE WHEN NOT i.indisvalid OR NOT i.indisready OR NOT i.indislive THEN 'INVALID' END),
    ('comment', obj_description(k.oid, 'pg_constraint')),
    ('index_comment', obj_description(i.indexrelid, 'pg_class')),
    ('sql', pg_get_constraintdef(k.oid))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND k.contype IN ('p', 'u', 'f', 'c', 'x')
    AND k.conparentid = 0
    AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
