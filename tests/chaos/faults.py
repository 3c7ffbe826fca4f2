"""What can happen to a cluster. Each takes patient, job and a seeded random, and says what may follow."""

import os
import signal
import time
from contextlib import suppress
from threading import Event, Thread

import psutil
import redis

from chaos.patient import LEASE_S

SUCCEEDS = ("succeeded",)
ANY_STAGE = ("planning", "compressing", "staged", "verifying", "publishing")
WORKING = ("compressing", "staged")


def _victims(patient, job_id):
    """Workers that hold work of the job; if none does just now, any worker."""
    workers = patient.worker_processes()
    return [pid for pid in patient.holders(job_id) if pid in workers] or workers[:1]


def _signal(pid, number):
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_worker(patient, job_id, random):
    """kill -9 of whoever works on the job, at any stage."""
    patient.wait_for(job_id, random.choice(ANY_STAGE))
    for pid in _victims(patient, job_id):
        _signal(pid, signal.SIGKILL)
    time.sleep(random.random())
    patient.heal()
    return SUCCEEDS


def kill_every_worker(patient, job_id, random):
    """kill -9 of all workers at once, twice."""
    for _ in range(2):
        patient.wait_for(job_id, random.choice(WORKING))
        for pid in patient.worker_processes():
            _signal(pid, signal.SIGKILL)
        time.sleep(0.2)
        patient.heal()
    return SUCCEEDS


def kill_encoder(patient, job_id, random):
    """kill -9 of the process that encodes patches: its worker must notice."""
    patient.wait_for(job_id, "compressing")
    for pid in _victims(patient, job_id):
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(pid).children(recursive=True):
                if random.random() < 0.7:
                    _signal(child.pid, signal.SIGKILL)
    return SUCCEEDS


def stop_worker(patient, job_id, random):
    """SIGTERM during a shard: the worker gives it back and leaves with 0."""
    patient.wait_for(job_id, random.choice(WORKING))
    victims = _victims(patient, job_id)
    asked = [worker for worker in patient.cluster.workers if worker.process.pid in victims]
    for worker in asked:
        _signal(worker.process.pid, signal.SIGTERM)
    for worker in asked:
        assert worker.process.wait(60) == 0, worker.log.read_text()[-3000:]
    patient.heal()
    return SUCCEEDS


def freeze_worker(patient, job_id, random):
    """A worker sleeps through its lease and wakes up when another has done its work."""
    patient.wait_for(job_id, random.choice(ANY_STAGE))
    victims = _victims(patient, job_id)[:1]
    for pid in victims:
        _signal(pid, signal.SIGSTOP)
    time.sleep(LEASE_S + 0.5 + random.random())
    for pid in victims:
        _signal(pid, signal.SIGCONT)
    return SUCCEEDS


def double_messages(patient, job_id, random):
    """Every message is delivered at least twice."""
    _with_messages(patient, lambda client, queue, message: client.lpush(queue, message))
    return SUCCEEDS


def lose_messages(patient, job_id, random):
    """Messages vanish from the broker while the job runs."""
    _with_messages(patient, lambda client, queue, message: client.lrem(queue, 1, message))
    return SUCCEEDS


def _with_messages(patient, change, seconds=2.0):
    queue, end = Event(), time.monotonic() + seconds

    def run():
        seen = set()
        with redis.Redis.from_url(patient.cluster.broker_url) as client:
            while time.monotonic() < end:
                for message in client.lrange("adaslide.compress", 0, -1):
                    if message not in seen:
                        seen.add(message)
                        change(client, "adaslide.compress", message)
                time.sleep(0.002)
        queue.set()

    Thread(target=run, daemon=True).start()
    assert queue.wait(seconds + 30)


def flush_broker(patient, job_id, random):
    """Redis loses everything, more than once."""
    for _ in range(3):
        patient.wait_for(job_id, random.choice(("queued", *ANY_STAGE)))
        with redis.Redis.from_url(patient.cluster.broker_url) as client:
            client.flushall()
        time.sleep(random.random() / 2)
    return SUCCEEDS


def restart_broker(patient, job_id, random):
    """The broker dies and comes back; sometimes it has forgotten everything."""
    patient.wait_for(job_id, random.choice(("queued", *ANY_STAGE)))
    patient.valkey.kill()
    time.sleep(random.random())
    patient.valkey.start()
    if random.random() < 0.5:
        with redis.Redis.from_url(patient.cluster.broker_url) as client:
            client.flushall()
    return SUCCEEDS


def restart_database(patient, job_id, random):
    """Postgres is restarted: in order, or as by a power cut."""
    patient.wait_for(job_id, random.choice(("queued", *ANY_STAGE)))
    if random.random() < 0.5:
        patient.postgres.kill()
    else:
        patient.postgres.stop()
    time.sleep(random.random())
    patient.postgres.start()
    return SUCCEEDS


def sick_store(patient, job_id, random):
    """For a while a share of S3's answers are errors, late, cut, or half."""
    patient.wait_for(job_id, random.choice(("queued", *ANY_STAGE)))
    for kind in random.sample(("500", "503", "reset", "lost", "truncate"), 2):
        patient.proxy.fault(kind, share=0.05 + 0.15 * random.random())
    patient.proxy.fault("latency", share=0.2, seconds=0.3)
    time.sleep(2 + random.random())
    patient.proxy.clear()
    return SUCCEEDS


def dead_store(patient, job_id, random):
    """For a while S3 answers nothing but errors."""
    patient.wait_for(job_id, random.choice(ANY_STAGE))
    patient.proxy.fault(random.choice(("500", "503", "reset")))
    time.sleep(2 + random.random())
    patient.proxy.clear()
    return SUCCEEDS


def full_disk(patient, job_id, random):
    """No worker can write to its disk; then they can again."""
    limited = []
    for pid in patient.worker_processes():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            limited.append((process, process.rlimit(psutil.RLIMIT_FSIZE)))
            process.rlimit(psutil.RLIMIT_FSIZE, (4096, limited[-1][1][1]))
    time.sleep(2 + random.random())
    for process, limit in limited:
        with suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_FSIZE, limit)
    return SUCCEEDS


def skewed_clock(patient, job_id, random):
    """A worker whose clock is minutes off, before or behind, takes part while another one dies."""
    seconds = 60 * random.choice((-9, -4, 4, 9))
    for pid in patient.worker_processes()[:1]:
        _signal(pid, signal.SIGKILL)
    time.sleep(0.2)
    patient.heal(skew_s=seconds)
    patient.wait_for(job_id, random.choice(WORKING))
    for pid in patient.worker_processes()[:1]:
        _signal(pid, signal.SIGKILL)
    time.sleep(0.2)
    patient.heal()
    return SUCCEEDS


def cancel(patient, job_id, random):
    """The caller changes its mind while a worker dies."""
    patient.wait_for(job_id, random.choice(("queued", *ANY_STAGE)))
    if random.random() < 0.5:
        for pid in _victims(patient, job_id):
            _signal(pid, signal.SIGKILL)
    answer = patient.cluster.client.delete(f"/jobs/{job_id}")
    time.sleep(0.2)
    patient.heal()
    if answer.status_code == 409:  # it was over already
        return SUCCEEDS
    assert answer.status_code == 202, answer.text
    return ("cancelled",)


def submit_twice(patient, job_id, random):
    """The caller asks again and again for the same work while a worker dies."""
    (job,) = patient.ask("SELECT slide_id, request FROM jobs WHERE id = :job", job=job_id)
    request = job.request
    body = {"profile": request["profile"], "mpp": request["mpp"], "dice_floor": request["dice_floor"]}
    for _ in range(5):
        answer = patient.cluster.client.post(f"/slides/{job.slide_id}/compress", json=body)
        assert answer.status_code in (200, 202), answer.text
        again = answer.json()
        assert job_id in (again["id"], again.get("job")), again
        time.sleep(random.random() / 4)
    return kill_worker(patient, job_id, random)


FAULTS = (
    kill_worker,
    stop_worker,
    double_messages,
    flush_broker,
    sick_store,
    restart_database,
    freeze_worker,
    restart_broker,
    dead_store,
    kill_every_worker,
    cancel,
    full_disk,
    skewed_clock,
    lose_messages,
    kill_encoder,
    submit_twice,
)
