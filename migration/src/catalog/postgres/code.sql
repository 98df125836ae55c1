-- What is code: triggers, functions, rules, policies.
SELECT 'trigger', c.relname::text, t.tgname::text, f.facet, f.value
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
CROSS JOIN LATERAL (VALUES
    ('definition', pg_get_triggerdef(t.oid, true)),
    ('state', CASE t.tgenabled WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END),
    ('comment', obj_description(t.oid, 'pg_trigger'))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND NOT t.tgisinternal AND t.tgparentid = 0 AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'function', '', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', f.facet, f.value
FROM pg_proc p
JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
CROSS JOIN LATERAL (VALUES
    ('form', CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'window function' END),
    ('arguments', pg_get_function_arguments(p.oid)),
    ('returns', pg_get_function_result(p.oid)),
    ('language', l.lanname::text),
    ('volatility', CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END),
    ('parallel', CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' ELSE 'UNSAFE' END),
    ('strictness', CASE WHEN p.proisstrict THEN 'STRICT' END),
    ('leakproof', CASE WHEN p.proleakproof THEN 'LEAKPROOF' END),
    ('security', CASE WHEN p.prosecdef THEN 'DEFINER' ELSE 'INVOKER' END),
    ('settings', array_to_string(p.proconfig, ' ')),
    ('body', CASE WHEN p.prokind = 'a' THEN concat_ws(' ', g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.agginitval,
            format_type(g.aggtranstype, NULL), g.aggkind)
        ELSE coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) || coalesce(' ' || p.probin, '') END),
    ('rights_of_all', CASE WHEN p.proacl IS NOT NULL THEN (SELECT string_agg(x.privilege_type, ', ')
        FROM aclexplode(p.proacl) x WHERE x.grantee = 0 AND x.privilege_type <> 'EXECUTE') END),
    ('comment', obj_description(p.oid, 'pg_proc')),
    ('sql', CASE WHEN p.prokind <> 'a' THEN regexp_replace(pg_get_functiondef(p.oid),
        '^(CREATE OR REPLACE (FUNCTION|PROCEDURE)) ' || quote_ident(current_schema()) || '\.', '\1 ') END)
) f (facet, value)
WHERE p.pronamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND f.value IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 'rule', c.relname::text, r.rulename::text, f.facet, f.value
FROM pg_rewrite r
JOIN pg_class c ON c.oid = r.ev_class
CROSS JOIN LATERAL (VALUES
    -- Of the pretty form, which names a visible table without its schema.
    ('definition', pg_get_ruledef(r.oid, true)),
    ('state', CASE r.ev_enabled WHEN 'D' THEN 'DISABLED' WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END),
    ('comment', obj_description(r.oid, 'pg_rewrite'))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
    AND r.rulename <> '_RETURN' AND f.value IS NOT NULL
UNION ALL
SELECT 'policy', c.relname::text, p.polname::text, f.facet, f.value
FROM pg_policy p
JOIN pg_class c ON c.oid = p.polrelid
CROSS JOIN LATERAL (VALUES
    ('definition', concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        'FOR', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        'TO', (SELECT string_agg(CASE WHEN o.role = 0 THEN 'PUBLIC' ELSE o.role::regrole::text END, ', ') FROM unnest(p.polroles) o (role)),
        'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', 'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')),
    ('comment', obj_description(p.oid, 'pg_policy'))
) f (facet, value)
WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema()) AND f.value IS NOT NULL
