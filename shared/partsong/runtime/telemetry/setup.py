"""Telemetry as a service is told to send it: to an endpoint, or to nowhere."""

from __future__ import annotations

from partsong.runtime.telemetry.telemetry import Telemetry

__all__ = ["setup"]


def setup(service: str, endpoint: str | None = None, *, instance: str = "") -> Telemetry:
    """Telemetry to an OTLP/HTTP endpoint such as `http://127.0.0.1:4318`; to nowhere without one.

    The standard `OTEL_*` variables for headers, certificates, time-outs, sampling and the delay of batches hold. Nothing global
    is set, so libraries that look for a global tracer stay silent.

    Raises:
        Unavailable: `telemetry.not_installed`, naming the extra.
    """
    if not endpoint:
        return Telemetry()
    from partsong.runtime.telemetry.otlp import OtlpTelemetry

    return OtlpTelemetry(service, endpoint, instance=instance)
