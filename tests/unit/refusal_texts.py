"""What providers write when they refuse a call, as `governor.policy.provider_texts` says where it was seen; a table."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from governor.policy.requests import Allowance, CloudModel, Span

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday
MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
PACIFIC_MIDNIGHT = datetime(2026, 11, 26, 8, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
GROQ = (
    "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_01kjh7p9n8f1qs6nz2bz77vy6b` service"
    " tier `on_demand` on {}: Limit {}, Used {}, Requested {}. Please try again in {}. Need more tokens? Upgrade to Dev"
    " Tier today at https://console.groq.com/settings/billing"
)
COHERE = (
    "You are using a Trial key, which is limited to {}. You can continue to use the Trial key for free or upgrade to a"
    " Production key with higher rate limits at 'https://dashboard.cohere.com/api-keys'."
)
OLLAMA = "you (somebody) have reached your {} usage limit, upgrade for higher limits: https://ollama.com/upgrade"
BILLION = Allowance(unit="tokens", span=Span.MONTH, amount=10**9)


def model(name: str, **facts: Any) -> CloudModel:
    calls = {"calls": f"{name.partition('/')[0]}/some-model", **facts}
    return CloudModel(name=name, context_tokens=8192, parameters_billion=70, **calls)


def error(message: str, **facts: Any) -> str:
    return json.dumps({"error": {"message": message, **facts}})


def gemini(*quota_ids: str, delay: str = "38s") -> str:
    """Indented, as it comes."""
    violations = [
        {"quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": quota_id}
        for quota_id in quota_ids
    ]
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    message = "You exceeded your current quota, please check your plan and billing details."
    failure = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}
    return json.dumps({"error": failure}, indent=2)


def openrouter(reason: str, reset: datetime) -> str:
    headers = {
        "X-RateLimit-Limit": "50",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(reset.timestamp() * 1000)),
    }
    offer = ". Add 10 credits to unlock 1000 free model requests per day"
    return error(f"Rate limit exceeded: {reason}{offer}", code=429, metadata={"headers": headers})


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


PER_DAY, PER_MINUTE = (
    "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
)
TWENTY_A_DAY = (
    Allowance(unit="requests", span=Span.MINUTE, amount=5),
    Allowance(unit="requests", span=Span.DAY, amount=20),
)
GEMINI = model("gemini/flash", zone="America/Los_Angeles", allowances=TWENTY_A_DAY)
GEMINI_TEXT = (
    "* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: {},"
    " model: gemini-3-flash\nPlease retry in 20.04466179s."
)
MISTRAL = '{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}'
CEREBRAS = (
    '{{"message":"{} limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota"}}'
)
OLLAMA_CALLS = {"ollama_cloud/gpt-oss": {"calls": "ollama_chat/gpt-oss:120b"}}

# Who refuses, with what text and what headers, at noon; what it is closed for, and until when.
TOO_MANY: list[tuple[str | CloudModel, str, dict[str, str], str, datetime]] = [
    # Groq: a day that comes back bit by bit, so the time that it names is meant.
    (
        "groq/llama-70b",
        error(GROQ.format("tokens per day (TPD)", 100000, 97050, 3619, "9m38.016s"), code="rate_limit_exceeded"),
        {},
        "quota",
        after(578.016),
    ),
    (
        "groq/llama-70b",
        error(GROQ.format("requests per day (RPD)", 1000, 1000, 1, "7m12s")),
        {"retry-after": "432"},
        "quota",
        after(432),
    ),
    ("groq/llama-70b", error(GROQ.format("tokens per day (TPD)", 100, 99, 9, "2.5s")), {}, "quota", after(60)),
    (
        "groq/llama-70b",
        error(GROQ.format("tokens per minute (TPM)", 12000, 4437, 9854, "11.455s")),
        {"x-ratelimit-remaining-requests": "900", "x-ratelimit-reset-requests": "2m59.56s"},
        "rate",
        after(11.455),
    ),
    ("groq/llama-70b", error(GROQ.format("tokens per minute (TPM)", 1, 1, 1, "820ms")), {}, "rate", after(1)),
    (
        "groq/llama-70b",
        "{}",
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m59.56s"},
        "quota",
        after(179.56),
    ),
    # Gemini: the wait beside a spent day is that for the next minute.
    (GEMINI, gemini(PER_DAY), {}, "quota", PACIFIC_MIDNIGHT),
    (GEMINI, gemini(PER_MINUTE, PER_DAY, delay="5s"), {"retry-after": "5"}, "quota", PACIFIC_MIDNIGHT),
    (GEMINI, gemini(PER_DAY, delay="61s"), {"retry-after": "61"}, "quota", PACIFIC_MIDNIGHT),
    (GEMINI, gemini(PER_DAY, delay="30000s"), {}, "quota", PACIFIC_MIDNIGHT),
    (GEMINI, gemini(PER_DAY, delay="71000s"), {}, "quota", after(71_000)),  # told for the day
    (GEMINI, gemini(PER_MINUTE, delay="38.2s"), {}, "rate", after(38.2)),
    (GEMINI, json.dumps({"error": {"message": gemini(PER_DAY)}}), {}, "quota", PACIFIC_MIDNIGHT),  # quoted twice
    (GEMINI, str(json.loads(gemini(PER_DAY))), {}, "quota", PACIFIC_MIDNIGHT),  # as Python prints it
    (GEMINI, GEMINI_TEXT.format(0), {}, "quota", PACIFIC_MIDNIGHT),
    (GEMINI, GEMINI_TEXT.format(20), {}, "quota", PACIFIC_MIDNIGHT),
    (GEMINI, GEMINI_TEXT.format(5), {}, "rate", after(20.04466179)),
    (GEMINI, error("Resource has been exhausted (e.g. check quota)."), {}, "rate", after(20)),
    # OpenRouter: the reset is in milliseconds, in a header or in the body.
    ("openrouter/gemma:free", openrouter("free-models-per-day", MIDNIGHT), {}, "quota", MIDNIGHT),
    ("openrouter/gemma:free", openrouter("free-models-per-min", after(31)), {}, "rate", after(31)),
    (
        "openrouter/gemma:free",
        error("Rate limit exceeded: free-models-per-day-high-balance.", code="429"),
        {},
        "quota",
        MIDNIGHT,
    ),
    (
        "openrouter/gemma:free",
        error("Provider returned error", code=429),
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(after(45).timestamp() * 1000))},
        "rate",
        after(45),
    ),
    # Mistral names no time.
    ("mistral/small", MISTRAL, {}, "rate", after(20)),
    ("mistral/small", '{"message":"Requests rate limit exceeded"}', {}, "rate", after(20)),
    ("mistral/small", error("Service tier capacity exceeded for this model."), {}, "rate", after(20)),
    ("mistral/small", MISTRAL, {"x-ratelimitbysize-remaining-month": "0"}, "quota", DECEMBER),
    ("mistral/small", MISTRAL, {"x-ratelimitbysize-remaining-month": "999967993"}, "rate", after(20)),
    (
        "mistral/small",
        MISTRAL,
        {"ratelimitbysize-remaining": "0", "ratelimitbysize-reset": "12"},
        "rate",
        after(12),
    ),
    # Cohere: the month is one of 30 days that slides; nobody knows here when it has room.
    ("cohere/command", error(COHERE.format("1000 API calls / month")), {}, "quota", after(86_400)),
    ("cohere/command", error(COHERE.format("20 API calls / minute")), {}, "rate", after(20)),
    # Cloudflare.
    (
        "cloudflare/llama",
        '{"errors":[{"message":"AiError: you have used up your daily free allocation of 10,000 neurons, please'
        ' upgrade to Cloudflare\'s Workers Paid plan","code":4006}],"success":false}',
        {},
        "quota",
        MIDNIGHT,
    ),
    (
        "cloudflare/llama",
        '{"errors":[{"message":"Capacity temporarily exceeded","code":3040}]}',
        {},
        "rate",
        after(20),
    ),
    # Cerebras: a bucket that fills continuously; its headers count seconds.
    ("cerebras/gpt-oss", CEREBRAS.format("Tokens per minute"), {}, "rate", after(20)),
    (
        "cerebras/gpt-oss",
        CEREBRAS.format("Tokens per minute"),
        {"x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-tokens-minute": "11.382867097854614"},
        "rate",
        after(11.382867),
    ),
    ("cerebras/gpt-oss", CEREBRAS.format("Tokens per day"), {}, "quota", after(3600)),
    ("cerebras/gpt-oss", CEREBRAS.format("Requests per hour"), {}, "quota", after(600)),
    (
        "cerebras/gpt-oss",
        CEREBRAS.format("Requests per day"),
        {"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.382867097855"},
        "quota",
        after(33011.382867),
    ),
    # SambaNova: its headers tell the second since 1970.
    (
        "sambanova/llama",
        error("Request would exceed rate limit\nViolated duration_s: 86400, current usage: 196279, limit: 200000"),
        {},
        "quota",
        after(3600),
    ),
    (
        "sambanova/llama",
        error("Rate limit exceeded"),
        {
            "x-ratelimit-remaining-requests-day": "0",
            "x-ratelimit-reset-requests-day": str(int(MIDNIGHT.timestamp())),
        },
        "quota",
        MIDNIGHT,
    ),
    ("sambanova/llama", error("Rate limit exceeded"), {"x-ratelimit-remaining-requests": "0"}, "rate", after(20)),
    # NVIDIA says nothing at all.
    ("nvidia_nim/nemotron", '{"status":429,"title":"Too Many Requests"}', {}, "rate", after(20)),
    # Z.ai: business codes.
    ("zai/glm-flash", error("High concurrency usage of this API", code="1302"), {}, "rate", after(20)),
    ("zai/glm-flash", error("The API has triggered a rate limit.", code="1305"), {}, "rate", after(20)),
    ("zai/glm-flash", error("Daily call limit for this API reached.", code="1304"), {}, "quota", MIDNIGHT),
    (
        "zai/glm-flash",
        error("Usage limit reached for 5 hour. Your limit will reset at 2026-11-25 15:13:03", code="1308"),
        {},
        "quota",
        after(3 * 3600 + 13 * 60 + 3),
    ),
    (
        "zai/glm-flash",  # as the clock of its home says
        error("Usage limit reached for 5 hour. Your limit will reset at 2026-11-25 23:13:03", code="1308"),
        {},
        "quota",
        after(3 * 3600 + 13 * 60 + 3),
    ),
    (
        "zai/glm-flash",  # that of no clock
        error("Usage limit reached for 5 hour. Your limit will reset at 2026-11-28 23:13:03", code="1308"),
        {},
        "quota",
        after(5 * 3600),
    ),
    (
        "zai/glm-flash",
        error("Weekly/Monthly Limit Exhausted. Your limit will reset at 2026-11-20 12:05:49", code="1310"),
        {},
        "quota",
        after(86_400),
    ),
    # Ollama: fixed sessions and weeks, and a month of each account.
    ("ollama_cloud/gpt-oss", error(OLLAMA.format("session")), {}, "quota", after(5 * 3600)),
    ("ollama_cloud/gpt-oss", error(OLLAMA.format("weekly")), {}, "quota", datetime(2026, 11, 30, tzinfo=UTC)),
    ("ollama_cloud/gpt-oss", error(OLLAMA.format("monthly")), {}, "quota", after(86_400)),
    (
        "ollama_cloud/gpt-oss",
        error("you've reached your hourly usage limit, please wait or upgrade to continue"),
        {},
        "quota",
        after(600),
    ),
    # Somebody that nobody knows.
    ("someone/model", error("Daily quota exceeded"), {}, "quota", MIDNIGHT),
    ("someone/model", error("1000 requests per month are used up"), {}, "quota", DECEMBER),
    ("someone/model", error("weekly limit"), {"retry-after": "90000"}, "quota", after(90_000)),
    ("someone/model", error("hourly limit"), {"retry-after": "90000"}, "quota", after(3600)),
    ("someone/model", error("Daily quota exceeded"), {"retry-after": "200000"}, "quota", after(86_400)),
    ("someone/model", error("10 requests per second, and 1000 per day"), {}, "rate", after(20)),
    ("someone/model", "<html><body>You may visit us daily</body></html>", {}, "rate", after(20)),
    ("someone/model", "", {}, "rate", after(20)),
]
