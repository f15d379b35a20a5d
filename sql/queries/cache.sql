-- name: find_answers
-- Grain: one of $keys that has an answer; its newest. Columns in the order of records.CachedAnswer. No order.
SELECT cache_key, response, provider, model, prompt_version, tokens_in, tokens_out, created_at
FROM cache
WHERE cache_key IN (SELECT unnest($keys))
QUALIFY row_number() OVER (PARTITION BY cache_key ORDER BY created_at DESC) = 1
