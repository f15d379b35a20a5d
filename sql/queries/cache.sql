-- name: find_answers
-- Grain: one of $keys that has an answer; its newest. Columns in the order of records.CachedAnswer. No order.
SELECT cache_key, response, provider, model, prompt_version, tokens_in, tokens_out, created_at
FROM cache
WHERE cache_key IN (SELECT unnest($keys))
QUALIFY row_number() OVER (PARTITION BY cache_key ORDER BY created_at DESC) = 1

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
