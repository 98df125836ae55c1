-- Types, extensions, and the kinds of objects that migrations of this service make none of.
SELECT 'type', '', t.typname::text, f.facet, f.value
FROM pg_type t
CROSS JOIN LATERAL (VALUES
    ('form', CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'base type' END),
    ('labels', (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)),
    ('type', CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
        WHEN 'r' THEN (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid) END),
    ('collation', CASE WHEN t.typtype = 'd' THEN (SELECT quote_ident(l.collname) FROM pg_collation l WHERE l.oid = t.typcollation) END),
    ('null', CASE WHEN t.typtype = 'd' AND t.typnotnull THEN 'NOT NULL' END),
    ('default', t.typdefault),
    ('checks', (SELECT string_agg(quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), E'\n' ORDER BY k.conname)
        FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c')),
    ('comment', obj_description(t.oid, 'pg_type'))
) f (facet, value)
WHERE t.typnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'b' AND t.typelem = 0)) AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 'extension', '', e.extname::text, 'form', 'extension'
FROM pg_extension e
WHERE e.extnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
UNION ALL
SELECT o.kind, '', o.name, 'form', o.kind
FROM (
    SELECT 'collation' kind, collname::text || coalesce(' ' || collcollate, '') name, oid, 'pg_collation'::regclass class, collnamespace space FROM pg_collation
    UNION ALL SELECT 'operator', oid::regoperator::text, oid, 'pg_operator'::regclass, oprnamespace FROM pg_operator
    UNION ALL SELECT 'operator class', opcname::text, oid, 'pg_opclass'::regclass, opcnamespace FROM pg_opclass
    UNION ALL SELECT 'conversion', conname::text, oid, 'pg_conversion'::regclass, connamespace FROM pg_conversion
    UNION ALL SELECT 'text search configuration', cfgname::text, oid, 'pg_ts_config'::regclass, cfgnamespace FROM pg_ts_config
    UNION ALL SELECT 'text search dictionary', dictname::text, oid, 'pg_ts_dict'::regclass, dictnamespace FROM pg_ts_dict
) o
WHERE o.space = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
