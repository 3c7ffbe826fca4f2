"""The peer of `bench_serving`: a plain DeepZoom server, OpenSlide behind FastAPI.

``python benchmarks/serving_peer.py SLIDE`` listens on a free port of this machine and says where.
"""

import io
import os
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, Response
from openslide import OpenSlide
from openslide.deepzoom import DeepZoomGenerator

from adaslide.adapters.child import exit_with_parent

TILE, JPEG_QUALITY = 480, 90


def create_peer(slide: Path) -> FastAPI:
    """Tiles of ``slide`` as JPEG, of the size and quality that AdaSlide serves; nothing is cached."""
    tiles = DeepZoomGenerator(OpenSlide(slide), TILE, overlap=0)
    app = FastAPI()

    @app.get("/slide_files/{level}/{col}_{row}.jpg")
    def tile(level: int, col: int, row: int) -> Response:
        try:
            image = tiles.get_tile(level, (col, row))
        except ValueError:
            raise HTTPException(404) from None
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return Response(buffer.getvalue(), media_type="image/jpeg")

    return app


def main() -> None:
    exit_with_parent(os.getppid())
    app = create_peer(Path(sys.argv[1]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"peer listens at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
