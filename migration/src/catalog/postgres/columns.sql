-- The columns of tables; those of views follow from their definitions.
SELECT 'column', c.relname::text, a.attname::text, f.facet, f.value
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
CROSS JOIN LATERAL (VALUES
    ('type', format_type(a.atttypid, a.atttypmod)),
    ('collation', (SELECT CASE WHEN l.collnamespace = 'pg_catalog'::regnamespace THEN quote_ident(l.collname)
            ELSE l.collnamespace::regnamespace::text || '.' || quote_ident(l.collname) END
        FROM pg_collation l WHERE l.oid = a.attcollation)),
    -- PostgreSQL 18 has a constraint for each NOT NULL, which may not be proven yet.
    ('null', CASE WHEN NOT a.attnotnull THEN 'NULL'
        WHEN EXISTS (SELECT FROM pg_constraint n WHERE n.conrelid = c.oid AND n.contype = 'n'
            AND n.conkey = ARRAY[a.attnum] AND NOT n.convalidated) THEN 'NOT NULL NOT VALID'
        ELSE 'NOT NULL' END),
    ('default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END),
    ('generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END),
    ('storage_of_generated', CASE a.attgenerated WHEN 's' THEN 'STORED' WHEN 'v' THEN 'VIRTUAL' END),
    ('identity', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END),
    ('identity_sequence', CASE WHEN a.attidentity <> '' THEN (
        SELECT format('START %s INCREMENT %s MIN %s MAX %s%s', s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
            CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
        FROM pg_depend p JOIN pg_sequence s ON s.seqrelid = p.objid
        WHERE p.classid = 'pg_class'::regclass AND p.refobjid = c.oid AND p.refobjsubid = a.attnum AND p.deptype = 'i') END),
    ('inherited', CASE WHEN NOT a.attislocal THEN 'YES' END),
    ('position', a.attnum::text),
    ('rights_of_all', (SELECT string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)
        FROM aclexplode(a.attacl) x WHERE x.grantee = 0)),
    ('comment', col_description(c.oid, a.attnum))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND c.relkind IN ('r', 'p', 'f')
    AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
