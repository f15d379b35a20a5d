-- name: find_similar
-- Grain: one of $wanted (a list of fingerprint, category, title, root_cause, template) and an earlier finding like it: of
-- $project, under another fingerprint, as the last run before $before told of it. At most $most for each of $wanted.
-- Order: fingerprint wanted, most like it first.
-- Likeness is a weighted Jaccard index of their words, a rare word weighing more than a common one (inverse document
-- frequency), a word of the title or of the masked text twice as much as one of the root cause alone; another category
-- takes a tenth off. $common_words say nothing. Each wanted finding's $rarest rarest words pick who is compared, the newest $most_a_word of each.
WITH numbered AS (
    SELECT run_id, row_number() OVER (ORDER BY started_at, run_id) AS number
    FROM runs
    WHERE project = $project AND status <> 'dry_run' AND started_at < $before
),
told AS (
    SELECT fingerprint, max(number) AS number
    FROM findings
    JOIN numbered USING (run_id)
    GROUP BY fingerprint
),
-- At most so many characters of a text: an answer may be long, and its end says little of what failed. The rules put
-- the title into a sentence that all causes of a category share.
earlier AS MATERIALIZED (
    SELECT
        row_number() OVER () AS id,
        findings.run_id,
        fingerprint,
        number,
        category,
        left(title, 500) AS title,
        if(provider = 'rules', '', left(root_cause, 1000)) AS root_cause
    FROM told
    JOIN numbered USING (number)
    JOIN findings USING (run_id, fingerprint)
),
wanted AS MATERIALIZED (
    SELECT
        -row_number() OVER () AS id,
        entry.fingerprint,
        entry.category,
        left(entry.title, 500) AS title,
        left(entry.root_cause, 1000) AS root_cause,
        left(entry.template, 1000) AS template
    FROM (SELECT unnest($wanted) AS entry)
),
earlier_words AS MATERIALIZED (
    SELECT id, fingerprint, number, word
    FROM (
        SELECT
            id,
            fingerprint,
            number,
            unnest(list_distinct(regexp_extract_all(lower(title || ' ' || root_cause), $word))) AS word
        FROM earlier
    )
    ANTI JOIN (SELECT unnest($common_words) AS word) USING (word)
),
frequencies AS MATERIALIZED (
    SELECT word, count(*) AS documents
    FROM earlier_words
    GROUP BY word
),
rare_words AS MATERIALIZED (
    SELECT id, fingerprint, word, documents
    FROM (
        SELECT
            id,
            fingerprint,
            unnest(list_distinct(regexp_extract_all(lower(title || ' ' || root_cause), $word))) AS word
        FROM wanted
    )
    JOIN frequencies USING (word)
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY documents, word) <= $rarest
),
postings AS MATERIALIZED (
    SELECT id, fingerprint, number, word
    FROM earlier_words
    WHERE word IN (SELECT word FROM rare_words)
    QUALIFY row_number() OVER (PARTITION BY word ORDER BY number DESC, id) <= $most_a_word
),
candidates AS MATERIALIZED (
    SELECT wanted_id, earlier_id
    FROM (
        SELECT rare_words.id AS wanted_id, postings.id AS earlier_id, sum(1 / documents) AS rarity, max(number) AS number
        FROM rare_words
        JOIN postings USING (word)
        WHERE rare_words.fingerprint <> postings.fingerprint
        GROUP BY ALL
    )
    QUALIFY row_number() OVER (PARTITION BY wanted_id ORDER BY rarity DESC, number DESC, earlier_id) <= $most_compared
),
templates AS (
    SELECT fingerprint, left(any_value(template), 1000) AS template
    FROM chunks
    WHERE project = $project
        AND fingerprint IN (SELECT fingerprint FROM earlier WHERE id IN (SELECT earlier_id FROM candidates))
    GROUP BY fingerprint
),
texts AS (
    SELECT id, title || ' ' || regexp_replace(coalesce(template, ''), '<\w+>', ' ', 'g') AS said, root_cause
    FROM wanted
    UNION ALL
    SELECT id, title || ' ' || regexp_replace(coalesce(template, ''), '<\w+>', ' ', 'g'), root_cause
    FROM earlier
    LEFT JOIN templates USING (fingerprint)
    WHERE id IN (SELECT earlier_id FROM candidates)
),
weights AS MATERIALIZED (
    SELECT
        id,
        word,
        max(emphasis) * sqrt(ln(1 + (SELECT count(*) FROM earlier) / coalesce(any_value(documents), 1))) AS weight
    FROM (
        SELECT id, 1.0 AS emphasis, unnest(list_distinct(regexp_extract_all(lower(said), $word))) AS word
        FROM texts
        UNION ALL
        SELECT id, 0.5, unnest(list_distinct(regexp_extract_all(lower(root_cause), $word)))
        FROM texts
    )
    ANTI JOIN (SELECT unnest($common_words) AS word) USING (word)
    LEFT JOIN frequencies USING (word)
    GROUP BY id, word
),
totals AS (
    SELECT id, sum(weight) AS total
    FROM weights
    GROUP BY id
),
-- Materialised, so that pairs are joined with words by pair, never words with words.
pairs AS MATERIALIZED (
    SELECT wanted_id, earlier_id, word, weight
    FROM candidates
    JOIN weights ON id = wanted_id
),
shared AS (
    SELECT wanted_id, earlier_id, sum(least(pairs.weight, weights.weight)) AS common
    FROM pairs
    JOIN weights ON weights.id = earlier_id AND weights.word = pairs.word
    GROUP BY wanted_id, earlier_id
),
scored AS (
    SELECT
        wanted.fingerprint AS wanted,
        earlier.run_id,
        earlier.fingerprint,
        -- The common weight counts once; sum(greatest) = ours + theirs - sum(least).
        common / (ours.total + theirs.total - common) * if(earlier.category = wanted.category, 1.0, 0.9) AS likeness
    FROM shared
    JOIN wanted ON wanted.id = wanted_id
    JOIN earlier ON earlier.id = earlier_id
    JOIN totals AS ours ON ours.id = wanted_id
    JOIN totals AS theirs ON theirs.id = earlier_id
)
SELECT
    scored.wanted,
    findings.fingerprint,
    findings.status,
    findings.title,
    findings.suggestion,
    findings.last_seen,
    likeness
FROM scored
JOIN findings USING (run_id, fingerprint)
WHERE likeness >= $least
QUALIFY row_number() OVER (PARTITION BY wanted ORDER BY likeness DESC, last_seen DESC, fingerprint) <= $most
ORDER BY wanted, likeness DESC, findings.last_seen DESC, findings.fingerprint

-- name: read_templates
-- Grain: a fingerprint with evidence in the run $run_id; the masked text behind it. No order.
SELECT fingerprint, any_value(template) AS template
FROM chunks
WHERE run_id = $run_id
GROUP BY fingerprint

-- name: find_first_telling
-- Grain: the first run that told of $fingerprint, of $project or (NULL) of any. One row or none.
SELECT findings.*, runs.started_at
FROM findings
JOIN runs USING (run_id)
WHERE fingerprint = $fingerprint AND ($project IS NULL OR findings.project = $project) AND runs.status <> 'dry_run'
ORDER BY runs.started_at, run_id
LIMIT 1
