"""What a package says of itself."""

from typing import Any

from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import MadeWith


def inspect(reader: PackageReader) -> dict[str, Any]:
    """The JSON of ``adaslide inspect``: the totals and where they come from."""
    info = reader.info
    block = info.attributes
    made = MadeWith.of(block)
    return {
        **block["totals"],
        "size": {"width": info.size.width, "height": info.size.height},
        "mpp": info.mpp,
        "mpp_origin": block["mpp_origin"],
        "patch": info.patch,
        "grid": {"rows": reader.grid.rows, "cols": reader.grid.cols},
        "levels": [
            {"path": lv.path, "downsample": lv.downsample, "width": lv.size.width, "height": lv.size.height}
            for lv in info.levels
        ],
        "judge": made.judge,
        "second_judge": made.second_judge,
        "agent": made.agent,
        "restorers": list(made.restorers),
        "weights": block.get("weights", {}),
        "source": block["source"],
        "software": block["software"],
        "runtime": block["runtime"],
        "created": block["created"],
        "certificate": block["certificate"],
    }
