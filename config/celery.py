"""Celery: the embedded default needs no broker to be installed; CELERY_BROKER_URL switches to Redis or RabbitMQ.

Beside its jobs each worker process keeps four clocks in one thread: its own sign of life, the sequencer of the
custody log, the sweeper, and the schedule of periodic duties. They run in every worker; the database lets only one act at a time.
"""

import logging
import os
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings  # noqa: E402

log = logging.getLogger("amparo.worker")
TICK_S = 0.5
SWEEP_EVERY_S = 5

app = Celery("amparo")


def _broker() -> dict[str, Any]:
    if settings.CELERY_BROKER_URL:
        # Whoever asks for work waits a few seconds at most for a broker that does not answer.
        redis = settings.CELERY_BROKER_URL.startswith("redis")
        options = {"socket_connect_timeout": 4} if redis else {}
        return {"broker_url": settings.CELERY_BROKER_URL, "broker_transport_options": options}
    folder = settings.DATA_DIR / "broker"
    for part in ("messages", "control"):
        (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport_options": {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.2,
        },
    }


def configure() -> None:
    """Read the settings. Called when Django is ready, so that importing this module touches no disk."""
    from archive import jobs

    app.conf.update(
        **_broker(),
        task_queues=[Queue(name) for name in jobs.QUEUES],
        task_default_queue="default",
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        task_publish_retry=False,
        timezone="UTC",
    )
    app.autodiscover_tasks()


app.on_configure.connect(lambda **_: configure(), weak=False)


class Clocks(threading.Thread):
    """Sign of life, sequencer, sweeper and schedule of one worker process."""

    def __init__(self, name: str, queues: str) -> None:
        super().__init__(name="clocks", daemon=True)
        self.worker, self.queues, self.stopped = name, queues, threading.Event()

    def run(self) -> None:
        """Tick until stopped. A fault in a clock is logged and the next tick tries again."""
        from django.db import close_old_connections, connection

        from archive import jobs, schedule
        from archive.custody.sequence import advance

        last_sweep = 0.0
        while not self.stopped.wait(TICK_S):
            try:
                advance()
                if time.monotonic() - last_sweep > SWEEP_EVERY_S:
                    last_sweep = time.monotonic()
                    jobs.beat_worker(self.worker, self.queues)
                    jobs.sweep()
                    schedule.tick()
                    close_old_connections()
            except Exception:  # noqa: BLE001 - the worker outlives a database that is away for a while
                log.exception("clock failed")
                connection.close()
                self.stopped.wait(2)

    def end(self) -> None:
        """Stop ticking, and be known as gone at once."""
        from django.db import Error, connection

        from archive import jobs

        self.stopped.set()
        self.join(timeout=5)
        try:
            jobs.forget_worker(self.worker)
        except Error:
            log.warning("the database is away; this worker counts as alive until its last beat is old")
        connection.close()


@worker_init.connect
def check_settings(**_: Any) -> None:
    """End here when a production start would be unsafe. Celery logs other exceptions of this signal and goes on."""
    import django
    from django.core.exceptions import ImproperlyConfigured

    django.setup()
    from config import checks

    try:
        checks.refuse_unsafe()
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from error


@worker_ready.connect
def start_clocks(sender: Any, **_: Any) -> None:
    """Start the clocks in the worker's parent process, once."""
    from archive import jobs, vault

    vault.empty_scratch()
    queues = ",".join(sorted(sender.app.amqp.queues.consume_from))
    sender.controller.clocks = Clocks(f"{jobs.worker_name()}:{queues}", queues)
    sender.controller.clocks.start()
    for name in jobs.KINDS:
        jobs.wake(name)


@worker_shutdown.connect
def stop_clocks(sender: Any, **_: Any) -> None:
    """Take back the sign of life: this worker's queues are unserved from now on, unless another serves them."""
    clocks = getattr(sender, "clocks", None)
    if clocks is not None:
        clocks.end()
    log.info("worker stops")
