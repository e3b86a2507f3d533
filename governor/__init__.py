"""The rules and the hands of the shared machine: line, desk, residency, engines, sensors, router."""
