-- Tables, views, sequences that stand alone, composite types. Not what an extension made, nor
-- the sequences of identity columns.
SELECT
    CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'type' ELSE 'table' END,
    '', c.relname::text, f.facet, f.value
FROM pg_class c
LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
CROSS JOIN LATERAL (VALUES
    ('form', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
        WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'composite type' END),
    ('persistence', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END),
    ('row_security', CASE WHEN c.relrowsecurity THEN 'ENABLED' END),
    ('forced_row_security', CASE WHEN c.relforcerowsecurity THEN 'FORCED' END),
    ('replica_identity', CASE c.relreplident WHEN 'f' THEN 'FULL'
        WHEN 'i' THEN (SELECT 'USING INDEX ' || quote_ident(x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = c.oid AND i.indisreplident)
        WHEN 'n' THEN CASE WHEN c.relkind IN ('r', 'p') THEN 'NOTHING' END END),
    ('inherits', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
        FROM pg_inherits i WHERE i.inhrelid = c.oid)),
    ('partition_key', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END),
    ('partition_bound', pg_get_expr(c.relpartbound, c.oid)),
    ('of_type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END),
    ('foreign_server', (SELECT v.srvname || coalesce(' ' || array_to_string(ft.ftoptions, ' '), '')
        FROM pg_foreign_table ft JOIN pg_foreign_server v ON v.oid = ft.ftserver WHERE ft.ftrelid = c.oid)),
    ('definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END),
    ('populated', CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'NO' END),
    -- Of a view these say what it answers; of a table they are an operator's tuning.
    ('options', CASE WHEN c.relkind = 'v' THEN array_to_string(c.reloptions, ' ') END),
    ('sequence', CASE WHEN c.relkind = 'S' THEN format('AS %s START %s INCREMENT %s MIN %s MAX %s%s',
        format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
        CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END) END),
    ('owned_by', (SELECT d.refobjid::regclass::text || '.' || quote_ident(a.attname)
        FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'a' AND c.relkind = 'S')),
    ('attributes', CASE WHEN c.relkind = 'c' THEN (
        SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END),
    -- Foreign keys are kept by triggers of PostgreSQL's own, which ALTER TABLE .. DISABLE TRIGGER ALL ends.
    ('triggers_of_foreign_keys', (SELECT string_agg(DISTINCT k.conname || CASE t.tgenabled WHEN 'D' THEN ' DISABLED'
            WHEN 'R' THEN ' REPLICA' ELSE ' ALWAYS' END, ', ')
        FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint
        WHERE t.tgrelid = c.oid AND t.tgisinternal AND t.tgenabled <> 'O')),
    -- Every role has these rights, so they are the schema's; those of named roles are the operator's.
    ('rights_of_all', (SELECT string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type)
        FROM aclexplode(c.relacl) x WHERE x.grantee = 0)),
    ('comment', obj_description(c.oid, 'pg_class'))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'c')
    AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND (d.deptype = 'e' OR (d.deptype = 'i' AND c.relkind = 'S')))
