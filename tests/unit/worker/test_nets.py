"""The torch runtime without torch: settings, names that travel, and a refusal at the start."""

import pickle
from dataclasses import replace
from importlib.util import find_spec

import pytest

from adaslide import wiring
from adaslide.adapters.restorers.installed import BICUBIC, InstalledRestorers
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.errors import InputError
from adaslide.domain.profile import FIE_X2, FIE_X4, NUCLEI_LEAN, NUCLEI_UNET, PROFILES
from adaslide.domain.rung import Rung
from adaslide.settings import load_settings
from adaslide_worker.nets import PooledNets, PooledRestorer, PooledRestorers, PooledSegmenter, profile_nets
from adaslide_worker.wiring import build_compute
from unit.worker.bench import plan_of_two_shards

NETS = PooledNets("torch 2.13.0 on cpu in fp32")


def rules(**compression):
    return load_settings(compression=compression)


def test_nothing_but_two_runtimes_and_three_devices_can_be_set(monkeypatch):
    assert rules().compression.runtime == "onnx"
    assert rules().compression.device == "auto"
    monkeypatch.setenv("ADASLIDE_COMPRESSION__RUNTIME", "tensorflow")
    with pytest.raises(InputError, match="ADASLIDE_COMPRESSION__RUNTIME"):
        load_settings()
    monkeypatch.setenv("ADASLIDE_COMPRESSION__RUNTIME", "torch")
    monkeypatch.setenv("ADASLIDE_COMPRESSION__DEVICE", "cuda:1")
    with pytest.raises(InputError, match="ADASLIDE_COMPRESSION__DEVICE"):
        load_settings()


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_start_is_refused_and_says_what_is_missing():
    with pytest.raises(InputError, match=r"RUNTIME=torch needs torch.*adaslide\[gpu\]"):
        build_compute(rules(runtime="torch"))


def test_the_canonical_runtime_starts_nothing_before_the_first_shard():
    compute = build_compute(rules(device="cuda"))
    compute.start()
    assert compute._started is None


def test_the_nets_of_present_profiles_are_those_that_are_loaded_at_the_start():
    assert profile_nets() == sorted([NUCLEI_LEAN, NUCLEI_UNET, FIE_X4, FIE_X2])


def test_a_net_travels_by_its_name():
    work = plan_of_two_shards()
    assert work.profile == PROFILES["archive"]
    canonical = wiring.patch_encoder(work)
    encoder = pickle.loads(pickle.dumps(wiring.patch_encoder(work, NETS)))
    assert encoder.judge == PooledSegmenter(NUCLEI_UNET)
    assert encoder.judge.name == canonical.judge.name
    assert isinstance(encoder.second, OtsuSegmenter)
    assert encoder.agent == canonical.agent
    assert (encoder.runtime, canonical.runtime) == (NETS.runtime, None)
    low = encoder.codecs[Rung.X4]
    assert low is encoder.codecs[Rung.X2]
    assert low.tried == canonical.codecs[Rung.X4].tried
    assert isinstance(low.restorers, PooledRestorers)
    assert encoder.codecs.keys() == canonical.codecs.keys()


def test_every_restorer_is_there_and_bicubic_is_the_same():
    canonical, pooled = InstalledRestorers(), PooledRestorers()
    assert set(pooled) == set(canonical)
    for key in canonical:
        expected = canonical[key] if key[1] == BICUBIC else PooledRestorer(*key)
        assert pooled[key] == expected
        assert pooled.get(key) == expected
    assert (4, bytes(32)) not in pooled


def test_where_no_net_measures_none_is_named():
    work = replace(plan_of_two_shards(), profile=PROFILES["exact"])
    assert wiring.patch_encoder(work, NETS).runtime is None
