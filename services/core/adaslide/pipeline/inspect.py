"""What a package says of itself."""

from typing import Any

from adaslide.package.reader import PackageReader


def inspect(reader: PackageReader) -> dict[str, Any]:
    """The JSON of ``adaslide inspect``: the totals and where they come from."""
    info = reader.info
    block = info.attributes
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
        "judge": block["judge"],
        "second_judge": block.get("second_judge"),
        "agent": block.get("agent"),
        "source": block["source"],
        "software": block["software"],
        "runtime": block["runtime"],
        "created": block["created"],
        "certificate": block["certificate"],
    }
