"""Where the library's parts meet: the one place, beside `codec_runtime`, that names concrete adapters."""

import os
import resource
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from adaslide import codec_runtime
from adaslide.adapters.agents.bisection import BisectionAgent
from adaslide.adapters.agents.cda import CdaAgent
from adaslide.adapters.agents.ladder import LadderAgent
from adaslide.adapters.inference.weights import Weights, weights_pinned
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.processes import processes
from adaslide.adapters.pyramid.tiff import TiffPyramidWriter
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.adapters.rungs.image_codec import decode_coded, encode_image
from adaslide.adapters.rungs.restored import RestoredRung
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.adapters.slides.openslide import ChildSlideReader, ReaderLimits
from adaslide.domain.errors import Unavailable
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import OTSU, Profile
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.package.reader import PackageReader
from adaslide.pipeline.check_patch import PatchChecker
from adaslide.pipeline.encode_patch import PatchEncoder
from adaslide.pipeline.export import Exporter
from adaslide.pipeline.guard import Guard
from adaslide.pipeline.measure import Measurer
from adaslide.pipeline.plan import CompressionPlan
from adaslide.pipeline.report import Baseline
from adaslide.pipeline.restore import PatchView, Restoration, RestoredRegion
from adaslide.ports.agent import Agent
from adaslide.ports.cache import Cache
from adaslide.ports.nets import Nets
from adaslide.ports.objects import ObjectStore
from adaslide.ports.rungs import RungCodec
from adaslide.ports.segmenter import Segmenter
from adaslide.ports.slides import SlideReader

ENCODING = (
    "adaslide.pipeline.encode_patch",
    "adaslide.adapters.agents.ladder",
    "adaslide.adapters.restorers.installed",
    "adaslide.adapters.rungs.background",
    "adaslide.adapters.rungs.exact",
    "adaslide.adapters.rungs.restored",
    "adaslide.adapters.segmenters.otsu",
    "adaslide.adapters.segmenters.unet",
    "onnxruntime",
)
"""Modules that a `PatchEncoder` of the present profiles needs, for processes to load before they get one."""


def open_slide(path: Path, limits: ReaderLimits | None = None) -> SlideReader:
    """The slide at ``path``, read in a child process within ``limits``."""
    return ChildSlideReader(path, limits or ReaderLimits())


def folder_store(root: Path) -> ObjectStore:
    """The objects below ``root``, made when the first is put."""
    return FilesystemStore(root)


def patch_encoder(plan: CompressionPlan, nets: Nets | None = None) -> PatchEncoder:
    """What encodes the patches of ``plan``. Picklable. Raises what `judge_named` raises.

    ``nets`` judge and restore in the place of the canonical runtime's, whose agent stays: it looks at a
    thumbnail.
    """
    profile, agent = plan.profile.at(plan.mpp), agent_named(plan.profile.agent)
    if isinstance(agent, LadderAgent):
        agent.check(profile)
    tried = tuple(weights_pinned(pin).digest for pin in profile.restorers)
    return PatchEncoder(
        profile=profile,
        patch=plan.patch,
        mpp=plan.mpp,
        glass=plan.glass,
        fill=plan.fill,
        codecs=_codecs(tried, nets),
        exact=ExactRung(),
        judge=judge_named(profile.judge, plan.mpp, nets),
        agent=agent,
        second=judge_named(profile.second_judge, plan.mpp, nets) if profile.second_judge else None,
        runtime=nets.runtime if nets and (tried or profile.judge != OTSU) else None,
        guard=guard_of(plan),
    )


def guard_of(plan: CompressionPlan) -> Guard | None:
    """What tells patches that the models of the plan's profile do not know; None without a policy."""
    return Guard(plan.profile.policy, plan.mpp, plan.glass) if plan.profile.policy else None


def _codecs(tried: tuple[bytes, ...], nets: Nets | None) -> Mapping[Rung, RungCodec]:
    codecs = codec_runtime.rung_codecs(tried)
    if nets is None:
        return codecs
    restored = RestoredRung(nets.restorers, tried)
    return {rung: restored if isinstance(codec, RestoredRung) else codec for rung, codec in codecs.items()}


def judge_named(name: str, mpp: float, nets: Nets | None = None) -> Segmenter:
    """The judge that a profile or a package names, for slides of ``mpp`` micrometres per pixel.

    Raises `WeightsMissing` where it is not installed, `InputError` for a scale that it does not know.
    """
    if name == OTSU:
        return OtsuSegmenter()
    judge = OnnxSegmenter.of(weights_pinned(name))
    judge.scaling.check(mpp)
    return nets.segmenter(name) if nets else judge


def agent_named(name: str | None) -> Agent:
    """The agent that a profile names; None looks at no patch. Raises `WeightsMissing` and `ModelError`."""
    if not name:
        return BisectionAgent()
    return agent_of(weights_pinned(name))


def agent_of(weights: Weights) -> LadderAgent | CdaAgent:
    """The agent of an installed weight. Raises `ModelError` when it is none."""
    return LadderAgent.of(weights) if weights.table.get("architecture") == "ladder" else CdaAgent.of(weights)


def weights_in(profile: Profile) -> dict[str, str]:
    """sha256 (hexadecimal) by name of all weights that ``profile`` uses. Raises `WeightsMissing`."""
    pins = (profile.judge, profile.second_judge, *profile.restorers, profile.agent)
    used = [weights_pinned(pin) for pin in pins if pin and pin != OTSU]
    return {weights.name: weights.digest.hex() for weights in used}


def plan_checker(plan: CompressionPlan) -> PatchChecker:
    """What reads the package of ``plan`` back. Picklable."""
    profile = plan.profile
    return patch_checker(plan.patch, plan.mpp, plan.fill, profile.judge, profile.second_judge)


def package_checker(package: PackageReader) -> PatchChecker:
    """What remeasures ``package``, with the judges that it names. Picklable."""
    info, block = package.info, package.info.attributes
    return patch_checker(info.patch, info.mpp, info.fill, block["judge"], block.get("second_judge"))


def patch_checker(
    patch: int, mpp: float, fill: int, judge: str = OTSU, second: str | None = None
) -> PatchChecker:
    """What decodes and remeasures patches of that size, scale (micrometres per pixel) and fill. Picklable."""
    return PatchChecker(
        patch,
        mpp,
        fill,
        codec_runtime.rung_codecs(),
        ExactRung(),
        judge_named(judge, mpp),
        judge_named(second, mpp) if second else None,
    )


@contextmanager
def patch_executor(workers: int | None = None) -> Iterator[Executor]:
    """A pool of ``workers`` processes, as many as the process may use cores unless given; see `processes`.

    Raises `Unavailable` when one of them is lost.
    """
    with processes(workers or len(os.sched_getaffinity(0)), ENCODING) as pool:
        try:
            yield pool
        except BrokenExecutor as error:
            raise Unavailable("a process that encodes patches was lost") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def peak_rss_bytes() -> int:
    """The greatest resident size so far of this process and of its running children, added up.

    Where the system keeps no high-water mark of other processes, their present size is taken.
    """
    children = psutil.Process().children(recursive=True)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return own + sum(_high_water(child) for child in children)


def _high_water(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return int(process.memory_info().rss)
    except (OSError, psutil.Error):
        return 0


def restoration(
    package: PackageReader,
    executor: Executor | None = None,
    memory: Cache[PatchView, RestoredRegion] | None = None,
) -> Restoration:
    """What reads restored pixels of ``package``; ``executor`` (threads) decodes patches side by side,
    ``memory`` keeps them."""
    return Restoration(package, codec_runtime, executor, memory)


def exporter(package: PackageReader) -> Exporter:
    """What writes ``package`` out as files that other programs read."""
    return Exporter(package, restoration(package), ExactRung(), TiffPyramidWriter())


@dataclass(frozen=True, slots=True)
class UniformBaseline:
    """One codec setting for every patch: what the adaptive package is compared with."""

    codec: Codec
    quality: int
    mpp: float
    judge: Segmenter
    second: Segmenter | None = None

    def __call__(self, original: Pixels) -> tuple[int, Fidelity]:
        payload = encode_image(original, RungSpec(Rung.FINE, self.codec, quality=self.quality))
        measurer = Measurer(original, self.mpp, self.judge, self.second)
        return len(payload), measurer.measure(decode_coded(self.codec, payload))


def baselines(package: PackageReader) -> dict[str, Baseline]:
    """Uniform settings by the name that the report shows, measured by the judges of ``package``."""
    checker = package_checker(package)
    settings = {f"JPEG q{q} 4:2:0": (Codec.JPEG, q) for q in (30, 75)}
    settings |= {f"AVIF q{q} 4:4:4": (Codec.AVIF, q) for q in (20, 30, 40, 50)}
    return {
        name: UniformBaseline(codec, quality, checker.mpp, checker.judge, checker.second)
        for name, (codec, quality) in settings.items()
    }
