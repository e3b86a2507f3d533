"""How the limit is asked: once, with a bound, and without what costs a waiter its time."""

import ssl

from prefect.context import get_settings_context
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from governor.lease import REQUEST_SECONDS, _once, _wire


def test_a_request_is_sent_once_and_bounded_and_afterwards_all_is_as_before():
    before = (PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_REQUEST_TIMEOUT.value())
    assert before[0] > 0
    with _once():
        assert (PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_REQUEST_TIMEOUT.value()) == (0, REQUEST_SECONDS)
        assert get_settings_context().settings.home.is_absolute()
    assert (PREFECT_CLIENT_MAX_RETRIES.value(), PREFECT_API_REQUEST_TIMEOUT.value()) == before


def test_only_an_address_without_tls_goes_without_certificates():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        trusted = _wire()["verify"]
        assert isinstance(trusted, ssl.SSLContext)
        assert (trusted.verify_mode, trusted.get_ca_certs()) == (ssl.CERT_REQUIRED, [])
    with temporary_settings({PREFECT_API_URL: "https://prefect.example/api"}):
        assert _wire() == {}
