"""Forms that secrets have wherever they stand: a vendor's prefix, a fixed part within, a place in a URL or header.

Written from the vendors' own descriptions of their tokens; gitleaks' list was gone through for vendors
that were missing. Lengths are a little lower than documented, so that a cut or older token is taken too.
"""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefixed:
    """A token that starts with a fixed text, in its own letter case."""

    name: str
    prefix: str
    body: re.Pattern[str]  # matched right behind the prefix
    bounded: bool  # no letter or digit may stand before it


@dataclass(frozen=True, slots=True)
class Shape:
    """A form that a pattern alone tells; `group` is the secret."""

    name: str
    hints: tuple[str, ...]  # lower case; one of them is in whatever matches
    pattern: re.Pattern[str]
    group: int
    back: int  # characters before a hint where a match may start
    ahead: int  # characters behind a hint's start that a match may reach
    gate: str  # where hints are looked for: `text`, `long` words, `url` (long words, with a URL about), `flag` (one-letter flags about)


def _prefixed(table: str) -> tuple[Prefixed, ...]:
    """Read rows of name, prefixes (parted by `|`; `~` before one: it is telling by itself, whatever precedes) and body."""
    rules: list[Prefixed] = []
    for row in filter(None, map(str.strip, table.splitlines())):
        name, prefixes, body = row.split(maxsplit=2)
        compiled = re.compile(body)
        rules += [
            Prefixed(name, prefix.removeprefix("~"), compiled, not prefix.startswith("~"))
            for prefix in prefixes.split("|")
        ]
    return tuple(rules)


# Bodies end where their alphabet does; `(?!…)` only where a longer run would be something else.
PREFIXED = _prefixed(r"""
    aws-key-id          AKIA|ASIA|AROA|AIDA|AGPA|AIPA|ANPA|ANVA|ABIA|ACCA|A3TX|APKA  [A-Z0-9]{16}(?![A-Za-z0-9])
    aws-bedrock-key     ~ABSKQmVkcm9ja0FQSUtleS  [A-Za-z0-9+/=]{40,}
    aws-bedrock-key     ~bedrock-api-key-        [A-Za-z0-9+/=_-]{40,}
    aws-mws             ~amzn.mws.               [0-9a-f-]{36}
    aws-session-token   ~IQoJb3JpZ2lu|FwoGZXIvYXdzE|FQoGZXIvYXdzE|FQoDYXdzE  [A-Za-z0-9+/=%]{60,}
    google-key          ~AIza                    [0-9A-Za-z_-]{33,}
    google-oauth        ~ya29.                   [0-9A-Za-z_.-]{20,}
    google-secret       ~GOCSPX-                 [0-9A-Za-z_-]{20,}
    google-refresh      1//0                     [0-9A-Za-z_-]{30,}
    google-captcha      6L                       [0-9A-Za-z_-]{38}(?![\w-])
    alibaba-key-id      ~LTAI                    (?=[A-Za-z]*\d)[A-Za-z0-9]{12,24}(?![A-Za-z0-9])
    tencent-key-id      AKID                     (?=[A-Za-z]*\d)[A-Za-z0-9]{28,40}(?![A-Za-z0-9])
    yandex-key          AQVN                     [A-Za-z0-9_-]{35,}
    yandex-token        t1.                      [A-Za-z0-9_-]{20,}={0,2}\.[A-Za-z0-9_-]{80,}={0,2}
    yandex-token        y0_                      [A-Za-z0-9_-]{30,}
    yandex-key          YC                       (?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{38}(?![\w-])
    scaleway-key-id     SCW                      (?=[A-Z]*\d)[A-Z0-9]{17}(?![A-Za-z0-9])
    github-token        ~ghp_|~gho_|~ghu_|~ghs_|~ghr_  [A-Za-z0-9_.-]{30,}
    github-token        ~github_pat_             [A-Za-z0-9_]{22,}
    gitlab-token        ~glpat-|~gldt-|~glrt-|~glrtr-|~glcbt-|~glptt-|~glft-|~glimt-|~glagent-|~gloas-|~glsoat-|~glffct-|~glwt-  [A-Za-z0-9_.-]{16,}
    gitlab-runner       ~GR1348941               [A-Za-z0-9_-]{20}
    bitbucket-token     ~ATBB|~BBDC-             [A-Za-z0-9+/@_=-]{24,}
    atlassian-token     ~ATATT|~ATCTT|~ATSTT  (?=[A-Za-z+/=_-]*\d)[A-Za-z0-9+/=_-]{20,}
    slack-token         ~xoxb-|~xoxa-|~xoxp-|~xoxo-|~xoxs-|~xoxr-|~xoxe-|~xoxc-|~xoxd-  [A-Za-z0-9%-]{10,}
    slack-token         ~xoxe.xoxb-|~xoxe.xoxp-  [A-Za-z0-9-]{10,}
    slack-token         ~xapp-|~xwfp-            \d-?[A-Za-z0-9-]{10,}|[A-Za-z0-9-]{20,}
    stripe-key          sk_live_|sk_test_|sk_prod_|rk_live_|rk_test_|rk_prod_|pk_live_|pk_test_  [0-9A-Za-z_]{10,}
    stripe-webhook      whsec_                   [0-9A-Za-z+/]{24,}={0,2}
    square-token        ~sq0atp-|~sq0csp-|~sq0idp-  [0-9A-Za-z_-]{20,}
    square-token        EAAA                     (?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{56,64}(?![\w-])
    facebook-token      EAA                      (?=[A-Za-z]*\d)[A-Za-z0-9]{80,}
    braintree-token     ~access_token$production$|~access_token$sandbox$  [0-9a-z]{16}\$[0-9a-f]{32}
    shopify-token       ~shpat_|~shpca_|~shppa_|~shpss_|~shpua_|~shptka_  [0-9a-fA-F]{24,}
    shippo-token        ~shippo_live_|~shippo_test_  [0-9a-f]{40}
    plaid-token         ~access-sandbox-|~access-development-|~access-production-  [0-9a-f-]{36}
    flutterwave-key     ~FLWSECK_TEST-|~FLWSECK-|~FLWPUBK_TEST-|~FLWPUBK-  [0-9a-zA-Z]{12,}(?:-X)?
    razorpay-key        rzp_live_|rzp_test_      [0-9A-Za-z]{14,}
    adyen-key           AQE                      [a-z][A-Za-z0-9+/=_-]{60,}
    duffel-token        ~duffel_test_|~duffel_live_  [\w=-]{40,}
    easypost-key        EZAK|EZTK                [A-Za-z0-9]{50,58}
    gocardless-token    live_|sandbox_           (?=[A-Za-z_=-]*\d)[A-Za-z0-9_=-]{40}(?![\w-])
    openai-key          sk-                      (?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}
    openai-key          ~sk-proj-|~sk-svcacct-|~sk-admin-|~sk-None-  [A-Za-z0-9_-]{20,}
    anthropic-key       ~sk-ant-                 [A-Za-z0-9_-]{20,}
    openrouter-key      ~sk-or-v1-               [0-9a-f]{32,}
    huggingface-token   hf_|api_org_             [A-Za-z0-9]{30,}
    groq-key            gsk_                     [A-Za-z0-9]{40,}
    xai-key             xai-                     [A-Za-z0-9]{60,}
    perplexity-key      ~pplx-                   [A-Za-z0-9]{40,}
    replicate-token     r8_                      [A-Za-z0-9]{37,}
    nvidia-key          ~nvapi-                  [A-Za-z0-9_-]{40,}
    fireworks-key       fw_                      (?=[A-Za-z]*\d)[A-Za-z0-9]{22,24}(?![A-Za-z0-9_])
    langchain-key       ~lsv2_pt_|~lsv2_sk_|~ls__  [0-9a-f_]{32,}
    langfuse-key        ~sk-lf-|~pk-lf-          [0-9a-f-]{36}
    tavily-key          ~tvly-                   [A-Za-z0-9-]{28,}
    elevenlabs-key      sk_                      [0-9a-f]{48}(?![0-9a-zA-Z])
    together-key        tgp_v1_                  [A-Za-z0-9_-]{40,}
    wandb-key           ~wandb_v1_               [A-Za-z0-9_-]{40,}
    cerebras-key        csk-                     [a-z0-9]{40,}
    deepgram-key        ~dg_                     [A-Za-z0-9_-]{40,}
    pinecone-key        ~pcsk_                   [A-Za-z0-9_]{40,}
    npm-token           ~npm_                    [A-Za-z0-9]{36,}
    npm-token           ~npms_                   [A-Za-z0-9]{36,}
    pypi-token          ~pypi-AgE                [A-Za-z0-9_-]{40,}
    pypi-token          ~pypi-                   (?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{60,}
    rubygems-key        ~rubygems_               [0-9a-f]{48}
    crates-token        cio                      (?=[A-Za-z]*\d)[A-Za-z0-9]{32}(?![A-Za-z0-9])
    nuget-key           oy2                      (?=[a-z]*\d)[a-z0-9]{43}(?![A-Za-z0-9])
    docker-token        ~dckr_pat_|~dckr_oat_    [A-Za-z0-9_-]{20,}
    clojars-token       ~CLOJARS_                [A-Za-z0-9]{60}
    jfrog-key           AKCp|cmVmd               [A-Za-z0-9]{55,}
    hex-token           ~hexpm_|~hexo_           [A-Za-z0-9_-]{30,}
    digitalocean-token  ~dop_v1_|~doo_v1_|~dor_v1_  [0-9a-f]{60,}
    heroku-key          ~HRKU-                   [0-9A-Za-z_-]{36,}
    fly-token           ~fm1r_|~fm1a_|~fm2_      [A-Za-z0-9+/_-]{60,}={0,3}
    fly-token           fo1_                     [\w-]{43}
    vercel-token        vcp_|vck_|vci_|vca_|vcr_  [A-Za-z0-9]{24,}
    vercel-token        ~vercel_blob_rw_         [A-Za-z0-9_]{30,}
    netlify-token       nfp_|nfc_|nfo_|nfu_|nfb_  [A-Za-z0-9]{36,}
    cloudflare-key      v1.0-                    [0-9a-f]{24}-[0-9a-f]{146}
    cloudflare-token    ~cfut_|~cfat_|~cfk_      [A-Za-z0-9_-]{36,}
    render-key          rnd_                     (?=[A-Za-z]*\d)[A-Za-z0-9]{28,}
    railway-token       ~rwy_                    [A-Za-z0-9_-]{30,}
    scalingo-token      ~tk-us-                  [\w-]{48}
    vault-token         ~hvs.|~hvb.|~hvr.        [A-Za-z0-9_-]{20,}
    vault-token         s.|b.|r.                 (?=[A-Za-z]*\d[A-Za-z]*[A-Za-z0-9]*[A-Z])[A-Za-z0-9]{24}(?![\w.-])
    pulumi-token        pul-                     [0-9a-f]{40}
    doppler-token       dp.pt.|dp.st.|dp.ct.|dp.sa.|dp.scim.|dp.audit.  (?:[\w-]+\.)?[A-Za-z0-9]{40,}
    infisical-token     st.                      [0-9a-f]{24}\.[0-9a-f]{32,}\.[0-9a-f]{32}
    1password-token     ~ops_eyJ                 [A-Za-z0-9+/_-]{60,}={0,3}
    1password-key       A3-                      [A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}
    age-key             ~AGE-SECRET-KEY-         1[0-9A-Z]{50,}
    databricks-token    dapi|dose|dkea|doka      [0-9a-f]{32}(?:-\d)?(?![0-9a-z])
    grafana-token       ~glc_|~glsa_             [A-Za-z0-9+/=_]{30,}
    newrelic-key        ~NRAK-|~NRJS-|~NRII-|~NRAA-|~NRRA-|~NRIQ-  [A-Za-z0-9_-]{18,}
    sentry-token        ~sntrys_|~sntryu_|~sntrya_  [A-Za-z0-9+/=_]{30,}
    dynatrace-token     ~dt0c01.|~dt0s01.|~dt0s02.|~dt0s08.|~dt0s16.  [A-Za-z0-9]{8,24}\.[A-Za-z0-9]{60,64}
    datadog-token       ~ddpat_|~ddapp_          [A-Za-z0-9_-]{30,}
    honeycomb-key       hcaik_|hcbik_|hcamk_|hcxik_|hcxlk_  [a-z0-9]{26,}
    posthog-key         phc_|phx_                [A-Za-z0-9]{32,}
    logfire-token       ~pylf_v1_                [a-z]{2}_[A-Za-z0-9]{30,}
    axiom-token         ~xaat-|~xapt-            [0-9a-f-]{36}
    betteruptime-token  ~sumo_                   [A-Za-z0-9]{40,}
    statuspage-token    ~rootly_                 [0-9a-f]{64}
    launchdarkly-key    sdk-|api-|mob-|rel-      [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![\w-])
    sendgrid-key        SG.                      [A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}
    mailgun-key         key-|pubkey-             [0-9a-f]{32}(?![0-9a-z])
    brevo-key           ~xkeysib-|~xsmtpsib-     [0-9a-f]{64}-[A-Za-z0-9]{16}
    mailersend-token    ~mlsn.                   [0-9a-f]{60,}
    resend-key          re_                      (?=[A-Za-z]*\d)[A-Za-z0-9]{7,9}_[A-Za-z0-9]{22,26}(?![A-Za-z0-9])
    mandrill-key        md-                      (?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{22}(?![\w-])
    twilio-key          SK|AC                    [0-9a-f]{32}(?![0-9A-Za-z])
    linear-key          ~lin_api_|~lin_oauth_|~lin_wh_  [A-Za-z0-9]{32,}
    notion-token        ~ntn_                    [A-Za-z0-9]{40,}
    notion-token        secret_                  [A-Za-z0-9]{43}(?![A-Za-z0-9])
    figma-token         ~figd_|~figo_|~figu_|~figh_  [A-Za-z0-9_-]{36,}
    postman-key         ~PMAK-|~PMAT-            [0-9A-Za-z-]{26,}
    airtable-token      pat                      [A-Za-z0-9]{14}\.[0-9a-f]{64}
    dropbox-token       sl.                      (?:u\.)?[A-Za-z0-9_=-]{100,}
    asana-token         [012]/                   \d{16}(?:/\d{16})?:[0-9a-f]{32}
    clickup-token       pk_                      \d{4,12}_[A-Z0-9]{32}
    typeform-token      ~tfp_                    [\w.=-]{40,}
    hubspot-token       ~pat-na1-|~pat-na2-|~pat-eu1-|~pat-ap1-  [0-9a-f-]{36}
    intra42-secret      ~s-s4t2ud-|~s-s4t2af-    [0-9a-f]{64}
    adobe-secret        ~p8e-                    [A-Za-z0-9_-]{32}
    frameio-token       ~fio-u-                  [\w=-]{60,}
    contentful-token    ~CFPAT-                  [A-Za-z0-9_-]{40,}
    readme-key          ~rdme_                   [a-z0-9]{60,}
    buildkite-token     bkua_|bkat_|bkct_|bkjt_|bkaj_|bkrt_|bkpt_  [0-9A-Za-z]{36,}
    circleci-token      ~CCIPAT_|~CCIPRJ_        [A-Za-z0-9]{20,}_[0-9a-f]{40}
    harness-key         pat.|sat.                [A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}
    octopus-key         API-                     (?=[A-Z]*\d)[A-Z0-9]{25,32}(?![A-Za-z0-9])
    sonar-token         sqp_|squ_|sqa_|sqb_      [0-9a-f]{40}
    snyk-token          ~snyk_uat.|~snyk_sat.    [\w.-]{30,}
    sourcegraph-token   ~sgp_|~slk_              [0-9a-fA-F_local]{40,}
    codecov-token       ~codecov_                [0-9a-f-]{36}
    prefect-key         pnu_|pnb_                [A-Za-z0-9]{36}
    depot-token         ~depot_project_|~depot_org_|~depot_user_  [0-9a-f]{32,}
    infracost-key       ico-                     [A-Za-z0-9]{32}(?![A-Za-z0-9])
    openshift-token     ~sha256~                 [\w-]{40,}
    tailscale-key       ~tskey-                  [a-z]{3,8}-[A-Za-z0-9-]{16,}
    ngrok-token         ~ngrok_                  [A-Za-z0-9_]{30,}
    dnkey               ~dnkey-                  [a-z0-9=_-]{26}-[a-z0-9=_-]{52}
    planetscale-token   ~pscale_tkn_|~pscale_pw_|~pscale_oauth_  [\w.=-]{30,}
    supabase-key        ~sbp_|~sb_secret_|~sb_publishable_  [A-Za-z0-9_-]{20,}
    neon-key            ~napi_                   [a-z0-9]{40,}
    clickhouse-key      4b1d                     (?=[0-9a-z]*[A-Z])[A-Za-z0-9]{38}(?![A-Za-z0-9])
    aiven-token         ~AVNS_                   [A-Za-z0-9_-]{16,}
    confluent-key       cflt                     [A-Za-z0-9+/]{60}(?![A-Za-z0-9+/])
    elastic-key         ~essu_                   [A-Za-z0-9+/=_-]{40,}
    influx-token        ~apiv3_                  [A-Za-z0-9_-]{40,}
    rootly-token        ~rootly_                 [0-9a-f]{64}
    maxmind-key         ~mmk_                    [A-Za-z0-9_]{20,}
    mapbox-token        ~sk.eyJ|~pk.eyJ|~tk.eyJ  [A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}
    settlemint-token    ~sm_aat_|~sm_pat_|~sm_sat_  [A-Za-z0-9]{16,}
    authress-key        sc_|ext_|scauth_|authress_  [A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,120}
    ansible-vault       ~$ANSIBLE_VAULT;         [\d.]+;AES256[^\n]*(?:\n\s*[0-9a-f]{40,80}(?![^\n]))*
    jenkins-secret      {AQAAABAAAA              [A-Za-z0-9+/=]{20,}\}
    jwt                 ~eyJ                     [A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?
    jwe                 ~eyJ                     [A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}
    jwt                 ~eyJ                     [A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}
    grafana-key         ~eyJrIjoi                [A-Za-z0-9]{40,}={0,3}
    docker-auth         ~eyJhdXRocyI6            [A-Za-z0-9+/]{20,}={0,3}
    jwt-base64          ~ZXlKaGJHY2lPa|~ZXlKMGVYQWlPa|~ZXlKcmFXUWlPa  [A-Za-z0-9+/_-]{40,}={0,3}
    private-key-base64  ~LS0tLS1CRUdJTiBSU0EgUFJJVkFURS|~LS0tLS1CRUdJTiBQUklWQVRF|~LS0tLS1CRUdJTiBFQyBQUklWQVRF|~LS0tLS1CRUdJTiBPUEVOU1NIIF|~LS0tLS1CRUdJTiBFTkNSWVBURU|~LS0tLS1CRUdJTiBEU0EgUFJJVkFURS  [A-Za-z0-9+/]{20,}={0,3}
""")


# Where a token can start: behind no letter or digit, or behind a colour code, an escape or an encoded `=`.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\[\dm)|(?<=\[\d\dm)|(?<=\[\d;\d\dm)|(?<=\\[nrt])|(?<=%3[Dd]))"


def _shape(
    name: str,
    hints: str,
    pattern: str,
    group: int = 0,
    *,
    back: int = 90,
    ahead: int = 320,
    gate: str = "text",
) -> Shape:
    return Shape(name, tuple(hints.split("|")), re.compile(pattern), group, back, ahead, gate)


SHAPES = (
    _shape("azure-secret", "q~", r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,37}", gate="long"),
    _shape("azure-devops", "azdo", _START + r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}(?![A-Za-z0-9])", gate="long"),
    _shape("azure-key", "jqqj99|+ast|acdb|azse|azca|azfu|aiot|ashb|aehb|apim|azmap", r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{28,80}(?:JQQJ99[A-Za-z0-9]{20,30}|(?:\+ASt|ACDb|AzSe|AzCa|AzFu|AIoT|\+ASb|\+AEh|APIM)[A-Za-z0-9+/_-]{5,10}={0,2})(?![A-Za-z0-9+/])", gate="long"),
    _shape("azure-sas", "sig=", r"(?i)(?<=[?&;\"' ]sig=)[A-Za-z0-9%+/_-]{30,200}={0,2}", gate="long"),
    _shape("signed-url", "signature=", r"(?i)(?<=signature=)[A-Za-z0-9%+/_~-]{20,2000}={0,2}", back=0, ahead=2100, gate="long"),
    _shape("azure-function-key", "code=", r"(?<=[?&]code=)[A-Za-z0-9%+/_-]{30,200}={0,2}", gate="url"),
    _shape("url-key", "key=", r"(?i)(?<=[?&]key=)(?=[^&\s]{0,99}\d)[A-Za-z0-9_-]{20,200}", gate="url"),
    _shape("terraform-token", "atlasv1", _START + r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,90}", gate="long"),
    _shape("telegram-token", ":aa", r"(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{32,34}(?![\w-])", gate="long"),
    _shape("mailchimp-key", "-us", _START + r"[0-9a-f]{32}-us\d{1,2}(?!\d)", gate="long"),
    _shape("newrelic-key", "nral|ffff", _START + r"[0-9a-f]{36}(?:NRAL|FFFFNRAL)(?![A-Za-z])", gate="long"),
    _shape("maxmind-key", "_mmk", _START + r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk", gate="long"),
    _shape("wordpress-salt", "_key'|_salt'", r"(?<=_(?:KEY|ALT)',)\s*'([^'\n]{40,80})'", 1),
    _shape("slack-webhook", "hooks.slack", r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/([A-Za-z0-9/+_-]{20,120})", 1, gate="url"),
    _shape("discord-webhook", "api/webhooks/", r"api/webhooks/\d{5,25}/([A-Za-z0-9_-]{40,120})", 1, gate="url"),
    _shape("teams-webhook", "webhookb2/", r"webhookb2/([\w@/-]{30,250})", 1, gate="url"),
    _shape("teams-webhook", "incomingwebhook/", r"IncomingWebhook/([\w@/-]{30,250})", 1, gate="url"),
    _shape("chat-webhook", "chat.googleapis", r"chat\.googleapis\.com/v1/spaces/[\w-]+/messages\?[^\s\"']{0,200}?key=([\w%=&-]{20,250})", 1, gate="url"),
    _shape("hook", "/hooks/|/hook/|hooks/catch", r"https?://[\w.:-]{3,100}/(?:hooks|hook)/(?:catch/)?((?=[\w/-]{0,60}\d)[A-Za-z0-9/-]{16,80})", 1, gate="url"),
    _shape("telegram-token", "/bot", r"/bot(\d{8,10}:[A-Za-z0-9_-]{30,40})", 1, gate="url"),
    _shape("bearer", "bearer", r"(?i)\bbearer(?:\s+|%20|:\s*)(?=[A-Za-z0-9_~+/.=-]{0,60}\d)([A-Za-z0-9_~+/.=:-]{14,4000})", 1, back=0, ahead=4100),
    _shape("sentry-dsn", "@", r"https?://([0-9a-f]{32})(?::[0-9a-f]{32})?@[\w.-]{3,80}/\d", 1),
    _shape("sql-password", "identified", r"(?i)\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?(?:'([^'\n]{3,200})|\"([^\"\n]{3,200}))", 1),
    _shape("openssl-pass", " pass:", r"(?<=[ =]pass:)([^\s\"'$<*]{4,200})", 1),
    _shape("mysql-password", "mysql|mariadb|xtrabackup|sshpass", r"(?i)\b(?:(?:mysql\w*|mariadb[\w-]*|xtrabackup)\b[^\n|;]{0,300}?\s-p|sshpass\s+-p\s?)([\"']?)((?!\1?[$\s<*-])[^\s\"'|;]{3,200})", 2, back=12, ahead=540, gate="flag"),
    _shape("login-password", " login", r"(?i)\b(?:docker|podman|helm|oras|skopeo|buildah|az|oc|cf|crane|registry|acr|nerdctl|regctl|heroku|twine|netlify)\b[^\n|;]{0,120}?\slogin\b[^\n|;]{0,200}?\s-p[ =]?([\"']?)((?!\1?[$\s<*-])[^\s\"']{3,400})", 2, back=140, ahead=640, gate="flag"),
    _shape("login-password", "twine upload", r"twine\b[^\n|;]{0,200}?\s-p[ =]([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="flag"),
    _shape("login-password", "unlock-keychain|security import|set-key-partition", r"security\b[^\n|;]{0,200}?\s-[pPk][ =](?!\S+(?:keychain|\.p12)\b)([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="text"),
    _shape("login-password", "ldapsearch|ldapadd|ldapmodify|ldapdelete|ldapwhoami", r"ldap\w+[^\n|;]{0,200}?\s-w[ =]([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="flag"),
    _shape("login-password", "redis-cli", r"redis-cli\b[^\n|;]{0,200}?\s-a[ =]([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="flag"),
    _shape("login-password", "sqlcmd|bcp ", r"(?:sqlcmd|bcp)\b[^\n|;]{0,200}?\s-P[ =]?([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="flag"),
    _shape("login-password", "mongosh|mongodump|mongorestore|mongoexport|mongoimport|mongo ", r"mongo\w*\b[^\n|;]{0,200}?\s-p[ =]([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="flag"),
    _shape("login-password", "-storepass|-keypass", r"-(?:store|key)pass[ =]([\"\']?)((?!\1?[$\s<*-])[^\s\"\']{3,200})", 2, back=12, ahead=420, gate="text"),
    _shape("htpasswd", "htpasswd", r"\bhtpasswd\s+-\w*b\w*\s+(?:-\w+\s+)*\S+\s+\S+\s+([\"']?)([^\s\"'$]{4,200})", 2, gate="flag"),
    _shape("password-hash", "$2|$1$|$5$|$6$|$apr1|$y$|$argon2|{ssha}|{sha}|pbkdf2_", r"(?:\$(?:2[abxy]\$\d\d|apr1|1|5|6|y\$\w+|argon2id?\$v=\d+\$[\w=,]+)\$[A-Za-z0-9./$+=]{20,200}|\{S?SHA\}[A-Za-z0-9+/]{24,}={0,2}|pbkdf2_sha\d+\$\d+\$[A-Za-z0-9]+\$[A-Za-z0-9+/=]{20,})", gate="long"),
    _shape("secure-string", "securestring", r"(?i)ConvertTo-SecureString\s+(?:-\w+\s+(?=[\"']))*[\"']([^\"'\n$]{3,200})[\"']", 1),
    _shape("smb-password", "smb|mount.cifs|rpcclient|net use", r"(?:-U|--user)[ =][\"']?[\w.\\/-]{1,60}%([^\s\"'$]{3,100})", 1, gate="flag"),
    _shape("putty-key", "putty-user-key", r"PuTTY-User-Key-File-[23]:[^\n]*(?:\n[^\n]{0,200}){0,80}?\n[^\n]{0,80}Private-MAC: [0-9a-f]+", back=0, ahead=20000),
)  # fmt: skip

# Known by its three parts alone; looked for in long words with two dots.
DISCORD_TOKEN = re.compile(
    r"(?<![\w-])[MNO][A-Za-z\d_-]{23,27}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,40}(?![\w-])"
)
