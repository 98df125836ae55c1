-- Indexes that no constraint owns. Each key column is a line: what, then a tab and how.
SELECT 'index', c.relname::text, x.relname::text, f.facet, f.value
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_am m ON m.oid = x.relam
CROSS JOIN LATERAL (VALUES
    ('method', m.amname::text),
    ('uniqueness', CASE WHEN i.indisunique THEN 'UNIQUE' END),
    ('nulls', CASE WHEN i.indnullsnotdistinct THEN 'NULLS NOT DISTINCT' END),
    ('keys', (SELECT string_agg(
            pg_get_indexdef(i.indexrelid, n.at, false) || E'\t'
            || coalesce((SELECT ' COLLATE ' || CASE WHEN l.collnamespace = 'pg_catalog'::regnamespace THEN '' ELSE l.collnamespace::regnamespace::text || '.' END || quote_ident(l.collname)
                FROM pg_collation l WHERE l.oid = i.indcollation[n.at - 1] AND l.oid <> coalesce((
                    SELECT a.attcollation FROM pg_attribute a
                    WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[n.at - 1] AND a.attnum > 0), 100)), '')
            || (SELECT CASE WHEN o.opcdefault THEN '' ELSE ' ' || quote_ident(o.opcname) END FROM pg_opclass o WHERE o.oid = i.indclass[n.at - 1])
            || coalesce((SELECT ' (' || array_to_string(a.attoptions, ', ') || ')' FROM pg_attribute a
                WHERE a.attrelid = i.indexrelid AND a.attnum = n.at AND a.attoptions IS NOT NULL), '')
            || CASE i.indoption[n.at - 1] & 3 WHEN 1 THEN ' DESC NULLS LAST' WHEN 2 THEN ' NULLS FIRST' WHEN 3 THEN ' DESC' ELSE '' END,
            E'\n' ORDER BY n.at)
        FROM generate_series(1, i.indnkeyatts::integer) n (at))),
    ('include', (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n.at)
        FROM generate_series(i.indnkeyatts::integer + 1, i.indnatts::integer) n (at)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n.at - 1])),
    ('predicate', pg_get_expr(i.indpred, i.indrelid)),
    ('validity', CASE WHEN NOT i.indisvalid OR NOT i.indisready OR NOT i.indislive THEN 'INVALID' END),
    ('comment', obj_description(x.oid, 'pg_class')),
    ('sql', replace(replace(pg_get_indexdef(i.indexrelid),
        ' ON ' || quote_ident(current_schema()) || '.', ' ON '), ' ON ONLY ' || quote_ident(current_schema()) || '.', ' ON ONLY '))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND c.relkind IN ('r', 'p', 'm')
    AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x'))
    AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid IN (c.oid, x.oid) AND d.deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = x.oid)
