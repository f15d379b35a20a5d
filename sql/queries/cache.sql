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

-- name: summarise_cache
-- Grain: a provider and model with answers; what they cost when they were paid for, and how many findings of complete
-- runs were taken from them. Order: most answers first.
WITH answers AS (
    SELECT *
    FROM cache
    QUALIFY row_number() OVER (PARTITION BY cache_key ORDER BY created_at DESC) = 1
),
hits AS (
    SELECT provider, model, count(*) AS hits
    FROM findings
    WHERE cached AND status <> 'resolved'
    GROUP BY provider, model
)
SELECT
    provider,
    model,
    count(*) AS answers,
    coalesce(any_value(hits.hits), 0) AS hits,
    sum(tokens_in)::BIGINT AS tokens_in,
    sum(tokens_out)::BIGINT AS tokens_out,
    min(created_at) AS oldest,
    max(created_at) AS newest
FROM answers
LEFT JOIN hits USING (provider, model)
GROUP BY provider, model
ORDER BY answers DESC, provider, model

-- name: sum_savings
-- Grain: one row; what complete runs of all projects took from the cache, and the tokens that this saved.
SELECT coalesce(sum(cache_hits), 0)::BIGINT AS hits, coalesce(sum(tokens_saved), 0)::BIGINT AS tokens_saved
FROM runs

-- name: list_answers
-- Grain: an answer, its newest version, of $provider and $model or (NULL) of any; at most $limit. Order: newest first.
SELECT
    cache_key,
    created_at,
    provider,
    model,
    prompt_version,
    tokens_in,
    tokens_out,
    json_extract_string(response, '$.title') AS title
FROM cache
WHERE ($provider IS NULL OR provider = $provider) AND ($model IS NULL OR model = $model)
QUALIFY row_number() OVER (PARTITION BY cache_key ORDER BY created_at DESC) = 1
ORDER BY created_at DESC, cache_key
LIMIT $limit
