"""Thin Celery entry points. Each calls a verb; the database says what there is to do."""

from celery import shared_task

from archive import jobs


@shared_task(name="archive.work", acks_late=True, reject_on_worker_lost=False, ignore_result=True)
def work(name: str) -> int:
    """Run waiting jobs of one name; a lost or doubled message does no harm. Returns how many ran."""
    jobs.pass_on(name)
    return jobs.run_waiting(name, most=jobs.KINDS[name].batch * 4)
