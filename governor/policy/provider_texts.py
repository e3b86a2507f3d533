"""What each provider writes when it refuses a call, and what of it was seen where. Pure.

How such a text becomes a decision is `policy.provider_refusals`. Where a line says "unconfirmed", the text was not
found in the provider's documentation or in a report of somebody who got it; the general rule reads it then.
Sources were read in November 2026.
"""

import re

from governor.policy.facts import Fact
from governor.policy.requests import Span

NEVER = "(?!)"


class Wording(Fact):
    """The words of one provider. All are regular expressions, sought anywhere in the text, in any case.

    Attributes:
        quotas: what says that the allowance of a long span is spent, and of which; the first that is found counts.
        slides: its long allowances come back bit by bit, so every time that it names is meant.
        fixed: its spans of five hours and its weeks begin at fixed times (UTC).
        midnight: its days begin anew at midnight of the tier's zone, and a time that it names far from that is no end.
        hours_east: how far ahead of UTC the clock of its home is, in which it may tell a time without a zone.
        wants_money: what says that the account must be paid. bad_key: that the key is not valid, with status 400.
        no_fault_of_the_key: what a 401 or 403 says when it is about this request only.
        spent_header: the header whose 0 says that the requests of a day are spent, where its name does not say so.
        limit: where the figure of the limit stands that was reached.
    """

    quotas: tuple[tuple[str, Span], ...] = ()
    slides: bool = False
    fixed: bool = False
    midnight: bool = False
    hours_east: int = 0
    wants_money: str = "insufficient_quota|insufficient[ _](?:balance|credit)"
    bad_key: str = NEVER
    no_fault_of_the_key: str = NEVER
    spent_header: str = ""
    limit: str = NEVER


def found(pattern: str, text: str) -> bool:
    """Whether a text says that."""
    return re.search(pattern, text, re.IGNORECASE) is not None


# "Rate limit reached for model `...` in organization `...` service tier `on_demand` on tokens per day (TPD): Limit
# 100000, Used 97050, Requested 3619. Please try again in 9m38.016s." github.com/continuedev/continue/issues/10920
# (the time is that until 669 of 100,000 tokens a day came back: it slides); "... on tokens per minute (TPM): Limit
# 12000, ..." github.com/ago19800/HomeMind/issues/29. Headers: console.groq.com/docs/rate-limits (retry-after in seconds
# at a 429 only, x-ratelimit-remaining-requests always of the day, x-ratelimit-reset-requests such as `2m59.56s`).
# "on requests per day (RPD)": unconfirmed for Groq, the same sentence.
GROQ = Wording(slides=True, spent_header="x-ratelimit-remaining-requests")

# {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"@type": ".../google.rpc.QuotaFailure",
# "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", ...}]}, {"@type":
# ".../google.rpc.RetryInfo", "retryDelay": "38s"}]}}: github.com/google-gemini/gemini-cli/issues/8437. The delay
# beside a spent day is far too short: github.com/zzstoatzz/plyr.fm/pull/2046 (five seconds). Days end at midnight
# Pacific time: ai.google.dev/gemini-api/docs/rate-limits. The message alone: "* Quota exceeded for metric: ..., limit:
# 0, model: ... Please retry in 20.04466179s." github.com/continuedev/continue/issues/10062.
# A bad key is a 400: "API key not valid. Please pass a valid API key." (INVALID_ARGUMENT, API_KEY_INVALID).
GEMINI = Wording(
    quotas=((r"quotaId\W{1,8}\w*PerDay|per_day|requests per day", Span.DAY),),
    midnight=True,
    bad_key=r"API_KEY_INVALID|API key (?:not valid|not found|expired)",
    limit=r"limit: (\d{1,12})\b",
)

# "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day", with
# metadata.headers X-RateLimit-Limit, -Remaining, -Reset (milliseconds since 1970):
# github.com/Gitlawb/openclaude/issues/936; "free-models-per-day-high-balance": issues/1549 there; metadata.limit_source
# `openrouter_free_tier_daily`: github.com/Avarok-Cybersecurity/atlas/pull/543. "free-models-per-min": public code.
# 402: no credit, also for free models below zero; 403: "requires moderation and your input was flagged":
# openrouter.ai/docs/errors.
OPENROUTER = Wording(
    quotas=(("free-models-per-day|openrouter_free_tier_daily", Span.DAY),),
    no_fault_of_the_key="moderation|flagged",
)

# {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": null, "code": "1300"}:
# github.com/raycast/extensions/issues/31107; "Requests rate limit exceeded": github.com/dnakov/anon-kode/issues/53;
# "Service tier capacity exceeded for this model.": github.com/continuedev/continue/issues/6185. No time is named.
# 1 request a second, 500,000 tokens a minute, a billion a month: help.mistral.ai/en/articles/225174. The headers
# x-ratelimitbysize-remaining-minute and -month are on every answer (seen in code); that the month's is 0 when the month
# is spent is unconfirmed, and so is when the month begins.
MISTRAL = Wording()

# "You are using a Trial key, which is limited to 1000 API calls / month. ..." and "... 10 API calls / minute. ...":
# errornotes.dev/en/errors/ai-tools/fix-coheretoomanyrequestserror-429-cohere-trial-key-rate-limit-exceeded (the minute)
# and public code (the month, verbatim in several places). The month is "a 30 day rolling window":
# docs.cohere.com/docs/rate-limits. No time is named.
COHERE = Wording(slides=True)

# "4006: you have used up your daily free allocation of 10,000 neurons, please upgrade ...":
# github.com/get-engram/engram/issues/34; as 3036 with status 429: developers.cloudflare.com/workers-ai/platform/errors
# (as public code quotes it). "All limits reset daily at 00:00 UTC": github.com/cloudflare/cloudflare-docs/pull/13226.
CLOUDFLARE = Wording(quotas=((r"daily free allocation|code\W{1,6}(?:3036|4006)\b", Span.DAY),), midnight=True)

# {"message": "Tokens per minute limit exceeded - too many tokens processed.", "type": "too_many_tokens_error", "param":
# "quota", "code": "token_quota_exceeded"}: github.com/continuedev/continue/issues/9800 (the message), public code (the
# rest, and the same with "per day", "per hour", "Requests"). Headers x-ratelimit-remaining-requests-day and
# x-ratelimit-reset-requests-day (seconds), "capacity replenishes continuously":
# inference-docs.cerebras.ai/support/rate-limits.
CEREBRAS = Wording(slides=True)

# "Request would exceed rate limit Violated duration_s: 86400, current usage: 196279, limit: 200000":
# community.sambanova.ai/t/i-keep-getting-429-rate-limit-error-on-developer-account/1654 and
# github.com/thecuriosityenginetool/curiosityengine. Headers x-ratelimit-remaining-requests (of the minute),
# -requests-day, and -reset- of both (seconds since 1970): docs.sambanova.ai/docs/en/models/rate-limits. That its day
# slides is how the text reads, and unconfirmed.
SAMBANOVA = Wording(quotas=((r"duration_s\W{1,3}86400", Span.DAY),), slides=True)

# {"status": 429, "title": "Too Many Requests"}: github.com/Alishahryar1/free-claude-code/issues/1485. No time, no day.
NVIDIA = Wording()

# {"error": {"code": "1302", "message": "..."}}: 1302 concurrency, 1303 frequency, 1304 "Daily call limit for this API
# reached", 1305 rate, 1113 in arrears: docs.z.ai/api-reference/api-code; 1308 "Usage limit reached for 5 hour. Your
# limit will reset at 2026-09-03 05:35:16", 1310 "Weekly/Monthly Limit Exhausted. Your limit will reset at ...": the
# same page and public code. The zone of that time is unconfirmed; UTC is the later reading, its home is UTC+8, and of
# the two only one is less than five hours away.
ZAI = Wording(
    quotas=(
        (r"code\W{1,6}1304\b|daily call limit", Span.DAY),
        (r"code\W{1,6}1310\b|weekly/monthly limit", Span.WEEK),
        (r"code\W{1,6}1308\b|usage limit reached", Span.FIVE_HOURS),
    ),
    hours_east=8,
    wants_money=r"code\W{1,6}(?:1113|1309)\b|in arrears|insufficient balance",
)

# "you (...) have reached your session usage limit, upgrade for higher limits: https://ollama.com/upgrade":
# github.com/continuedev/continue/issues/11444; "you've reached your hourly usage limit, please wait or upgrade":
# issues/9233 there; weekly and monthly read alike (public code). Sessions of five hours begin at multiples of 18,000 s
# since 1970, weeks on Monday 00:00 UTC: github.com/Sarrius/pi-multi-account/issues/30; accounts since September 2026
# have a month: github.com/can1357/oh-my-pi/pull/10513, whose beginning is unconfirmed. No time is named.
OLLAMA = Wording(quotas=((r"session (?:usage )?limit", Span.FIVE_HOURS),), fixed=True)

# By the prefix that the calls bear, or the provider's part of the tier's name.
WORDINGS = {
    "groq": GROQ,
    "gemini": GEMINI,
    "openrouter": OPENROUTER,
    "mistral": MISTRAL,
    "cohere": COHERE,
    "cohere_chat": COHERE,
    "cloudflare": CLOUDFLARE,
    "cerebras": CEREBRAS,
    "sambanova": SAMBANOVA,
    "nvidia_nim": NVIDIA,
    "zai": ZAI,
    "ollama": OLLAMA,
    "ollama_chat": OLLAMA,
}
UNKNOWN = Wording()
