from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import BUCKETS, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_what_is_counted_can_be_scraped() -> None:
    metrics = Metrics()
    metrics.watch_broker(lambda: True)
    metrics.request("github", "accepted", 7000, 0.004)
    metrics.request("github", "accepted", 1000, 99.0)
    metrics.refused["github", "signature_mismatch"] += 1
    metrics.secrets["github", "1"] += 3
    found = samples(metrics)
    assert found["tidemill_webhook_requests_total", (("source", "github"), ("verdict", "accepted"))] == 2
    assert found["tidemill_webhook_bytes_total", (("source", "github"),)] == 8000
    assert (
        found["tidemill_webhook_refused_total", (("check", "signature_mismatch"), ("source", "github"))] == 1
    )
    assert found["tidemill_webhook_secret_total", (("secret", "1"), ("source", "github"))] == 3
    assert found["tidemill_broker_connected", ()] == 1
    bucket = "tidemill_webhook_duration_seconds_bucket"
    assert found[bucket, (("le", "0.0025"), ("source", "github"))] == 0
    assert found[bucket, (("le", "0.005"), ("source", "github"))] == 1
    assert found[bucket, (("le", "10.0"), ("source", "github"))] == 1
    assert found[bucket, (("le", "+Inf"), ("source", "github"))] == 2
    assert found["tidemill_webhook_duration_seconds_count", (("source", "github"),)] == 2


def test_a_duration_on_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    for bound in BUCKETS:
        metrics.request("s", "accepted", 0, bound)
    assert metrics.durations["s",].cumulative() == [
        *((str(bound), float(n)) for n, bound in enumerate(BUCKETS, 1)),
        ("+Inf", float(len(BUCKETS))),
    ]


def test_every_metric_is_documented() -> None:
    from pathlib import Path  # noqa: PLC0415 - for this test alone

    text = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
    for name in {name for name, _ in samples(_full())}:
        plain = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        assert f"`{plain}`" in text


def _full() -> Metrics:
    metrics = Metrics()
    metrics.request("s", "accepted", 1, 1)
    metrics.refused["s", "c"] += 1
    metrics.publish_failures["r",] += 1
    metrics.records_dropped["k",] += 1
    metrics.control_requests["GET", "e", "200"] += 1
    metrics.unreadable["public", "bad-request"] += 1
    metrics.watch_schemas({("s", "fits"): 1}, {("s", "t"): 1}, {("s", "t", "new_field"): 1})
    return metrics
