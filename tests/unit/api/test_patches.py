"""What is served of a package whose patches a net restored, and of one that has no second judge."""

import numpy as np
import pytest

from adaslide import library, wiring
from adaslide.domain.decision import PatchFlag
from adaslide.domain.geometry import PatchIndex, Region
from adaslide.domain.profile import PROFILES
from adaslide.domain.rung import Rung
from adaslide.pipeline.made_with import BICUBIC, restored_by
from adaslide_api.packages import OpenPackage, Tile
from adaslide_api.routes.pages import DECISION_LAYERS, FIDELITY_LAYERS, known_layers
from adaslide_api.routes.regions import patch_facts

NET = PROFILES["paper"].restorers[0]


def opened(path):
    reader = library.open_package(path)
    return OpenPackage(None, wiring.folder_store(path), reader, wiring.restoration(reader))


@pytest.fixture
def package(restored_package):
    return opened(restored_package[1])


@pytest.fixture
def by_net(package):
    """The place of a patch that a net restored."""
    return next(index for index, name in restored_by(package.reader).items() if name == NET)


def test_tiles_over_a_net_name_it_and_smaller_ones_do_not(package, by_net):
    region = package.reader.grid.region(by_net)
    full = Tile.of(package.restoration.read(region), "png")
    assert full.headers == {"X-AdaSlide-Provenance": "restored", "X-AdaSlide-Weights": NET}
    half = Region(region.x // 2, region.y // 2, region.width // 2, region.height // 2)
    small = Tile.of(package.restoration.read(half, 2), "png")
    assert small.headers == {"X-AdaSlide-Provenance": "preview"}


def test_tiles_that_no_net_touched_have_no_such_header(package):
    restored = package.restoration.read(Region(0, 0, 8, 8))
    tile = Tile.of(type(restored)(restored.pixels, restored.provenance), "png")
    assert set(tile.headers) == {"X-AdaSlide-Provenance"}


def test_a_patch_tells_its_restorer(package, by_net):
    facts = patch_facts(package, by_net.row, by_net.col)
    maps = package.reader.maps
    assert (facts.restorer, facts.provenance) == (NET, "restored")
    assert facts.measurements == maps.decision["measurements"][by_net.row, by_net.col] > 1
    assert 0 < facts.p_compress < 1
    assert facts.quality["dice_second"] is None
    assert facts.quality["dice_window_min"] == pytest.approx(
        maps.quality["dice_window_min"][by_net.row, by_net.col], abs=1e-4
    )


@pytest.mark.parametrize(
    ("flags", "measurements", "words"),
    [
        (PatchFlag.NONE, 3, ["proposed"]),
        (PatchFlag.NONE, 0, []),
        (PatchFlag.DEMOTED, 3, ["demoted"]),
        (PatchFlag.PROMOTED, 3, ["promoted"]),
        (PatchFlag.CORRUPT, 0, ["corrupt"]),
    ],
)
def test_flags_are_words(package, flags, measurements, words):
    decision = package.reader.maps.decision
    decision["flags"] = np.full_like(decision["flags"], flags)
    decision["measurements"] = np.full_like(decision["measurements"], measurements)
    decision["p_compress"] = np.full_like(decision["p_compress"], 0.73)
    facts = patch_facts(package, 0, 0)
    assert (facts.flags, facts.measurements, facts.p_compress) == (words, measurements, 0.73)


def test_what_was_not_restored_has_no_restorer(archive_package):
    archive = opened(archive_package[0])
    rungs = archive.reader.maps.decision["rung"]
    row, col = np.argwhere(rungs == Rung.FINE)[0]
    assert patch_facts(archive, int(row), int(col)).restorer is None
    row, col = np.argwhere(rungs == Rung.BACKGROUND)[0]
    glass = patch_facts(archive, int(row), int(col))
    assert (glass.restorer, glass.flags, glass.measurements) == (None, [], 0)
    found = restored_by(archive.reader)
    for index, name in found.items():
        assert patch_facts(archive, index.row, index.col).restorer == name
    assert set(found.values()) <= {BICUBIC, *PROFILES["archive"].restorers}


def test_layers_are_those_that_were_measured(package, archive_package):
    assert "dice_second" in known_layers(opened(archive_package[0]), FIDELITY_LAYERS)
    assert "dice_second" not in known_layers(package, FIDELITY_LAYERS)
    assert list(known_layers(package, DECISION_LAYERS)) == ["rung", "p_compress"]
    decision = package.reader.maps.decision
    decision["p_compress"] = np.full_like(decision["p_compress"], 0.5)
    assert list(known_layers(package, DECISION_LAYERS)) == ["rung", "p_compress"]


def test_a_package_of_which_nothing_was_measured_still_has_a_layer(package):
    quality = package.reader.maps.quality
    for name, values in quality.items():
        quality[name] = np.full_like(values, np.nan)
    assert list(known_layers(package, FIDELITY_LAYERS)) == ["dice"]


def test_kept_pixels_are_not_a_second_judges_verdict(exact_package):
    exact = opened(exact_package[0])
    assert exact.reader.maps.fidelity(PatchIndex(0, 0)).dice_second == 1.0
    assert "dice_second" not in known_layers(exact, FIDELITY_LAYERS)
