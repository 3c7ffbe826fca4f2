"""Whatever happens: every job ends, in the right way, and what it made is whole, seen once and alone.

``CHAOS_SCENARIOS`` (30) scenarios from the seed ``CHAOS_SEED`` (0) on; one alone is repeated with
``make chaos SCENARIOS=1 SEED=n``. Everything happens on this machine, and every wait has an end.
"""

import os
from random import Random

import pytest

from chaos.faults import FAULTS, full_disk
from chaos.patient import unlike

FIRST = int(os.environ.get("CHAOS_SEED", "0"))
COUNT = int(os.environ.get("CHAOS_SCENARIOS", "30"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_nothing_is_lost(patient, wide_slide, seed):
    random = Random(seed)
    fault = FAULTS[seed % len(FAULTS)]
    print(f"seed {seed}: {fault.__name__}: {fault.__doc__}")
    slide_id = None
    if fault is full_disk:  # one that no worker has on its disk yet
        slide_id = patient.upload(unlike(wide_slide.read_bytes()))
    job_id = patient.submit(random, slide_id)
    try:
        expected = fault(patient, job_id, random)
    finally:
        patient.proxy.clear()
        patient.heal()
    patient.examine(job_id, expected)


def test_nothing_is_left(patient):
    """Of all jobs before, when no worker can be at them any more: only packages, and each of them once."""
    assert patient.examined
    for job_id in patient.examined:
        patient.tidy(job_id)
