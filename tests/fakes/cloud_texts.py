"""What FAKE cloud tiers answer with an error, worded as the providers word it. The key in it is a fake one."""

KEY = "FAKE-key-b7f1d2"
TOO_FAST = {
    "error": {
        "message": "Rate limit reached for model `m` in organization `o` on requests per minute (RPM): Limit 30,"
        " Used 30, Requested 1. Please try again in 7.66s.",
        "type": "requests",
        "code": "rate_limit_exceeded",
    }
}
# What providers say when a day's allowance is used up.
GROQ_DAY = {
    "error": {
        "message": "Rate limit reached for model `m` in organization `o` service tier `on_demand` on tokens per day"
        " (TPD): Limit 200000, Used 199989, Requested 126. Please try again in 12m44.5s.",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}
GEMINI_DAY = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for"
        " metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 20\n"
        "Please retry in 30.5s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                        "quotaValue": "20",
                    }
                ],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"},
        ],
    }
}
OPENROUTER_DAY = {
    "error": {
        "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per"
        " day",
        "code": 429,
        "metadata": {"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}},
    }
}
WRONG_KEY = {"error": {"message": f"Incorrect API key provided: {KEY}.", "type": "invalid_request_error"}}
GEMINI_WRONG_KEY = {
    "error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}
}
TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000"
        " tokens.",
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
    }
}
BUSY = {"error": {"message": "The model is overloaded.", "type": "server_error"}}
PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
