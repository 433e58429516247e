"""The order in which a worker looks at its queues."""

from kombu.utils.scheduling import cycle_by_name

from outreach.queue import QUEUES, UrgentFirst, celery_app


def test_urgent_queues_come_first_and_a_busy_one_starves_no_other(database: str) -> None:
    strategy = cycle_by_name(celery_app().conf.broker_transport_options["queue_order_strategy"])
    assert strategy is UrgentFirst
    cycle = strategy()
    cycle.update(QUEUES)
    urgent = [name for name in QUEUES if name.endswith("-urgent")]
    for _ in range(3):
        looked_at = cycle.consume(len(QUEUES))
        assert sorted(looked_at) == sorted(QUEUES)
        assert set(looked_at[: len(urgent)]) == set(urgent)
        cycle.rotate("periodic")  # it has a task each time
        assert cycle.consume(len(QUEUES))[-1] == "periodic"
        cycle.rotate("sms-urgent")
