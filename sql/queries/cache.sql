-- name: find_answers
-- Grain: one of $keys that has an answer; its newest. Columns in the order of records.CachedAnswer. No order.
SELECT
    cache_key, response, provider, model, prompt_version, tokens_in, tokens_out, created_at,
    coalesce(identity, ''), coalesce(fingerprint, ''), coalesce(sighting, '')
FROM cache
WHERE cache_key IN (SELECT unnest($keys))
QUALIFY row_number() OVER (PARTITION BY cache_key ORDER BY created_at DESC) = 1

-- name: find_candidates
-- Grain: an answer that may serve one of the pairs in $keys and $fingerprints: the newest for that key, or, without
-- one, up to five of $identity for that fingerprint. Columns: key, fingerprint, records.CachedAnswer. Newest first.
WITH wanted AS (
    SELECT unnest($keys::VARCHAR[]) AS wanted_key, unnest($fingerprints::VARCHAR[]) AS wanted_fingerprint
),
found AS (
    SELECT wanted.*, true AS exact, cache.*
    FROM wanted JOIN cache ON cache.cache_key = wanted_key
    UNION ALL BY NAME
    SELECT wanted.*, false AS exact, cache.*
    FROM wanted JOIN cache ON cache.fingerprint = wanted_fingerprint
    WHERE cache.identity = $identity AND $identity <> '' AND cache.cache_key <> wanted_key
),
ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY wanted_key, wanted_fingerprint ORDER BY exact DESC, created_at DESC) AS place,
        max(exact) OVER (PARTITION BY wanted_key, wanted_fingerprint) AS has_exact
    FROM found
)
SELECT
    wanted_key, wanted_fingerprint,
    cache_key, response, provider, model, prompt_version, tokens_in, tokens_out, created_at,
    coalesce(identity, ''), coalesce(fingerprint, ''), coalesce(sighting, '')
FROM ranked
WHERE place <= CASE WHEN has_exact THEN 1 ELSE 5 END
ORDER BY wanted_key, wanted_fingerprint, place
