"""Training the judge: nothing held out is trained on, runs repeat, and what is served is what was trained."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.errors import InputError
from adaslide_models.data.nuclei import Entry, estimated_mpp, fill, folds, load, read_split, read_unlabelled
from adaslide_models.evaluate.cross_validation import pooled
from adaslide_models.evaluate.segmenter import by_source, evaluate_segmenter, overlap, score

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "models" / "adaslide_weights" / "cards"
DATA = Path(os.environ.get("ADASLIDE_DATA", ROOT.parent / "shared" / "data"))
GOLDEN = Path(__file__).parent / "golden" / "segmenter_loss.json"
HELD_OUT_TCGA = (
    "TCGA-A7-A2KD", "TCGA-A7-A6VW", "TCGA-A8-A06O", "TCGA-A8-A07E", "TCGA-A8-A07P", "TCGA-A8-A082",
    "TCGA-A8-A09A", "TCGA-A8-A09C", "TCGA-A8-A09E", "TCGA-A8-A09Q", "TCGA-AC-A2FG", "TCGA-AC-A2QI",
)  # fmt: skip
"""Patients of the images that rate and fidelity are claimed on."""
HELD_OUT_NUCLS = ("train_9.png", "train_10.png")
FIRST_HELD_OUT_TNBC = 1021


def entry(image, kind="instance", label="label.png"):
    return Entry(image, label, kind)


# What was trained on


def trained_on(judge):
    return (CARDS / f"{judge}.trained_on.txt").read_text().splitlines()


@pytest.mark.parametrize("judge", ["nuclei-unet", "nuclei-lean"])
def test_the_released_judges_saw_nothing_that_is_held_out(judge):
    names = trained_on(judge)
    assert len(names) > 100
    assert len(set(names)) == len(names)
    entries = [entry(name, "none" if name.startswith("sr/") else "instance") for name in names]
    unlabelled = {"ocdc", "osteosarcoma", "brecahad", "breakhis400"} if judge == "nuclei-lean" else set()
    assert {e.source.partition("_")[0] for e in entries} <= {"tnbc", "nucls", "dsb2018", "brca"} | unlabelled
    assert not {e.patient for e in entries} & set(HELD_OUT_TCGA)
    assert not {Path(name).name for name in names if "/nucls/" in name} & set(HELD_OUT_NUCLS)
    numbers = [int(re.search(r"(\d{4})\.jpg$", name)[1]) for name in names if "/tnbc/" in name]
    assert numbers
    assert max(numbers) < FIRST_HELD_OUT_TNBC


@pytest.mark.skipif(
    not (DATA / "splits").is_dir(), reason="the development data are not here (ADASLIDE_DATA)"
)
def test_the_splits_share_no_file_and_no_patient():
    splits = DATA / "splits"
    train = [e for s in ("nuclei_train", "nuclei_points_train") for e in read_split(splits / f"{s}.txt")]
    taught = {e.image for e in read_unlabelled(splits / "sr_train.txt")}
    assert set(trained_on("nuclei-unet")) <= {e.image for e in train}
    assert set(trained_on("nuclei-lean")) <= {e.image for e in train} | taught
    held = [
        e
        for s in ("nuclei_val", "nuclei_test", "nuclei_points_val", "nuclei_points_test")
        for e in read_split(splits / f"{s}.txt")
    ]
    held += [entry(line) for line in (splits / "heldout_20x.txt").read_text().split()]
    assert not ({e.image for e in train} | taught) & {e.image for e in held}
    assert not {(e.source, e.patient) for e in train} & {(e.source, e.patient) for e in held}


@pytest.mark.parametrize(
    ("image", "source", "patient"),
    [
        ("nuclei/tnbc/images/rotated_210_1007.jpg", "tnbc", "tnbc patient 1"),
        ("nuclei/tnbc/images/distorted_0.02_rsigma0.5_sigma40_1010.jpg", "tnbc", "tnbc patient 2"),
        ("nuclei/tnbc/images/1050.jpg", "tnbc", "tnbc patient 11"),
        ("nuclei/nucls/images/train_3.png", "nucls", "nucls train_3"),
        ("nuclei/dsb2018/images/00ae_smear.png", "dsb2018_smear", "dsb2018_smear 00ae_smear"),
        ("nuclei/brca_m2c/images/TCGA-A8-A06O-01Z-00-DX1_1_2.png", "brca_m2c", "TCGA-A8-A06O"),
    ],
)
def test_names_tell_source_and_patient(image, source, patient):
    assert (entry(image).source, entry(image).patient) == (source, patient)


def test_folds_part_patients_and_cover_everything_once():
    entries = [entry(f"nuclei/tnbc/images/{number}.jpg") for number in range(1001, 1051)]
    entries += [entry(f"nuclei/nucls/images/train_{number}.png") for number in range(10)]
    parts = folds(entries, 4)
    assert sorted(e.image for part in parts for e in part) == sorted(e.image for e in entries)
    patients = [{e.patient for e in part} for part in parts]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert parts == folds(entries[::-1], 4)


# Labels


def test_the_fill_of_a_rotated_image_is_not_counted_and_glass_is():
    chance = np.random.default_rng(0)
    image = chance.normal(180, 20, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    image[:60, :60] = (190, 150, 188)
    image[140:, 140:] = chance.normal(240, 1.5, (60, 60, 3)).astype(np.uint8)
    found = fill(image)
    assert found[:60, :60].all()
    assert not found[140:, 140:].any()
    assert found.mean() < 0.11


def test_unknown_scales_follow_from_the_size_of_nuclei():
    labels = np.zeros((100, 100), np.uint16)
    labels[10:30, 10:30], labels[50:70, 50:70] = 1, 2
    assert estimated_mpp(labels) == pytest.approx((25 / 400) ** 0.5)


def test_near_a_point_nothing_but_its_core_is_known(tmp_path):
    folder = tmp_path / "brca_m2c" / "images"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(folder / "a.png")
    (tmp_path / "a.txt").write_text("32 32 1\n")
    example = load(tmp_path, Entry("brca_m2c/images/a.png", "a.txt", "points"))
    assert example.nuclei[32, 32]
    assert example.nuclei.sum() < 25
    assert not example.counted[32, 32 + 8]
    assert example.counted[32, 32 + 19]


# A small data set of its own: dark discs on a pink ground


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    data = tmp_path_factory.mktemp("drawn")
    chance = np.random.default_rng(0)
    folder = data / "nuclei" / "nucls"
    (folder / "images").mkdir(parents=True)
    (folder / "instances").mkdir()
    lines = []
    for index in range(4):
        labels = np.zeros((160, 160), np.uint16)
        y, x = np.mgrid[:160, :160]
        for number, (row, col) in enumerate(chance.integers(10, 150, (25, 2)), 1):
            labels[(y - row) ** 2 + (x - col) ** 2 < 10**2] = number
        image = np.where((labels > 0)[..., None], (90, 50, 130), (225, 170, 205))
        image = (image + chance.normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        Image.fromarray(labels).save(folder / "instances" / f"{index}.png")
        lines.append(f"nuclei/nucls/images/{index}.png\tnuclei/nucls/instances/{index}.png\tinstance")
    (data / "split.txt").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture
def config():
    torch = pytest.importorskip("torch")
    from adaslide_models.recipes.segmenter import nuclei_unet

    torch.set_num_threads(1)  # as training does: small nets wait for their threads more than they compute
    return replace(nuclei_unet(), side=48, batch=4, warm_up_steps=5, channels=(8, 16, 16, 16))


def steps(training, first, last, of):
    return [training.step(step / of) for step in range(first, last)]


def test_twenty_steps_lower_the_loss_and_repeat_exactly(drawn, config):
    from adaslide_models.train.segmenter import Training

    examples = [load(drawn, e) for e in read_split(drawn / "split.txt")]
    losses = steps(Training(config, examples), 0, 20, 20)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02
    assert losses == steps(Training(config, examples), 0, 20, 20)


def test_the_loss_follows_the_golden_curve(drawn, config):
    """In fp32; other processors and versions of the codecs may round otherwise, hence the tolerance."""
    from adaslide_models.train.segmenter import Training

    examples = [load(drawn, e) for e in read_split(drawn / "split.txt")]
    losses = steps(Training(replace(config, bf16=False), examples), 0, 20, 20)
    np.testing.assert_allclose(losses, json.loads(GOLDEN.read_text()), rtol=0.03)


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(drawn, config, tmp_path):
    from adaslide_models.train.segmenter import Training

    examples = [load(drawn, e) for e in read_split(drawn / "split.txt")]
    whole = Training(config, examples)
    losses = steps(whole, 0, 12, 12)
    first = Training(config, examples)
    steps(first, 0, 6, 12)
    first.save(tmp_path)
    second = Training(config, examples)
    second.resume(tmp_path)
    assert steps(second, 6, 12, 12) == losses[6:]
    kept, own = whole.kept.state_dict(), second.kept.state_dict()
    assert all(kept[name].equal(own[name]) for name in kept)


def test_a_run_trains_exports_and_logs(drawn, tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from adaslide_models.recipes.segmenter import nuclei_unet
    from adaslide_models.train.segmenter import Segmenter, train

    split = (drawn / "split.txt",)
    losses = train(Segmenter(nuclei_unet(), drawn, split, split, tmp_path, steps=2))
    assert len(losses) == 2
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 2
    assert len(result["trained_on"]) == 4
    assert json.loads(capsys.readouterr().out)["nucls"]["n"] == 4
    assert (tmp_path / "nuclei-unet.onnx").stat().st_size > 1e6
    assert '"validation"' in (tmp_path / "log.jsonl").read_text()


def test_the_lean_judge_starts_from_its_teachers_encoder_and_learns_from_unlabelled_images(
    drawn, tmp_path, capsys
):
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from adaslide_models.recipes.segmenter import nuclei_lean
    from adaslide_models.train.segmenter import Segmenter, Training, teacher_of, train

    seen = "nuclei/nucls/images/0.png"
    (drawn / "sr" / "ocdc").mkdir(parents=True)
    Image.open(drawn / seen).save(drawn / "sr" / "ocdc" / "1.png")
    (drawn / "unlabelled.txt").write_text(f"sr/ocdc/1.png\n{seen}\n")
    recipe = replace(nuclei_lean(), side=48, batch=4, bf16=False)
    teacher = teacher_of(recipe).state_dict()
    training = Training(recipe, [load(drawn, e) for e in read_split(drawn / "split.txt")])
    for name, value in training.net.down.state_dict().items():
        assert value.equal(teacher[f"down.{name}"])
    assert {parameter.requires_grad for parameter in training.teacher.parameters()} == {False}

    split = (drawn / "split.txt",)
    run = Segmenter(recipe, drawn, split, split, tmp_path, steps=2, device="cpu", workers=1)
    assert len(train(replace(run, unlabelled=(drawn / "unlabelled.txt",)))) == 2
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["trained_on"] == ["nuclei/nucls/images/0.png", *result["trained_on"][1:4], "sr/ocdc/1.png"]
    assert (tmp_path / "nuclei-lean.onnx").stat().st_size > 1e6
    capsys.readouterr()


def test_of_an_unlabelled_image_nothing_counts(drawn):
    (drawn / "sr" / "brecahad").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(drawn / "sr" / "brecahad" / "a.png")
    (drawn / "list.txt").write_text("sr/brecahad/a.png\n")
    (one,) = read_unlabelled(drawn / "list.txt")
    example = load(drawn, one)
    assert (one.source, example.mpp, example.image.shape) == ("brecahad", 0.15, (48, 64, 3))
    assert not example.counted.any()


def test_a_recipe_that_does_not_exist_is_refused():
    pytest.importorskip("torch")
    from adaslide_models.recipes.segmenter import recipe_named

    with pytest.raises(InputError, match="nuclei-lean"):
        recipe_named("nuclei-fat")


# What is released


@pytest.mark.parametrize("judge", ["nuclei-unet", "nuclei-lean"])
def test_onnx_and_torch_give_the_same_masks(sample_pixels, judge):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from adaslide_models.recipes.segmenter import recipe_named
    from adaslide_models.train.segmenter import judge_of, net_of
    from adaslide_models.weights import load_trained

    weights = weights_named(judge)
    segmenter = OnnxSegmenter.of(weights)
    net = net_of(recipe_named(judge)).eval()
    net.load_state_dict(load_trained(weights))
    patch = sample_pixels[960:1440, 960:1440]
    planes = segmenter.scaling.planes(patch)
    with torch.inference_mode():
        logits = net(torch.from_numpy(planes)).numpy()
    np.testing.assert_allclose(segmenter.model.run(planes), logits, atol=1e-3)
    theirs = judge_of(net, segmenter.scaling)(patch, 0.25)
    assert (segmenter.masks([patch], 0.25)[0] != theirs).mean() < 1e-4


def test_the_judge_is_evaluated_without_torch(drawn):
    pytest.importorskip("onnxruntime")
    table = evaluate_segmenter(drawn, drawn / "split.txt")
    assert table["nucls"]["n"] == 4
    assert 0.6 < table["nucls"]["dice"] <= 1
    assert set(table["nucls"]) == {"n", "dice", "jaccard", "dice_otsu"}


def test_scores_count_known_pixels_only(drawn):
    example = load(drawn, read_split(drawn / "split.txt")[0])
    assert overlap(example.nuclei, example) == (1.0, 1.0)
    half = replace(example, counted=np.arange(160)[:, None].repeat(160, axis=1) < 80)
    wrong_below = example.nuclei | ~half.counted
    assert overlap(wrong_below, half) == (1.0, 1.0)
    rows = score([example], lambda image, mpp: np.zeros(image.shape[:2], bool))
    assert by_source(rows)["nucls"]["dice"] == 0


def test_folds_are_pooled_with_patients_resampled_whole():
    def fold(patient, *dice):
        rows = [
            {
                "image": f"{patient}{i}",
                "source": "s",
                "patient": patient,
                "dice": d,
                "jaccard": d,
                "dice_otsu": 0.5,
            }
            for i, d in enumerate(dice)
        ]
        return {"scored": rows, "seconds": 1}

    result = pooled([fold("a", 0.8, 0.8, 0.8), fold("b", 0.6)])
    assert result["all"]["dice"] == 0.75
    assert result["all"]["dice_interval"] == [0.6, 0.8]
    assert result["all"]["dice_otsu_interval"] == [0.5, 0.5]
    with pytest.raises(ValueError, match="two folds"):
        pooled([fold("a", 0.8), fold("a", 0.8)])
