"""Where a service keeps bytes, on any store.

::

    slides/{slide id}/source.EXT                    what was uploaded, never changed
    uploads/{slide id}/{end}                        of an upload under way, in a bucket: bytes short of a part
    packages/{package id}-{token}.zarr/             one package; callers see the one that its row names
    scratch/{job id}/plan.json                      of an unfinished job
    scratch/{job id}/{row}_{col}-{token}/           a shard and its sidecar, as one lease's holder left them
    exports/{job id}/{token}/slide.tif              what a job restored; seen is the one that its row names

Names are ids and tokens only. A worker writes nowhere but below a name that holds its own token: one that
was thought dead can neither change a package that is published nor what another one wrote.
"""

from adaslide.adapters.objects.prefixed import PrefixedStore
from adaslide.domain.geometry import ShardIndex
from adaslide.ports.jobs import JobRecord
from adaslide.ports.objects import FileStore, ObjectStore
from adaslide.ports.slide_files import SlideFiles, SourceFiles
from adaslide.ports.uploads import UploadFiles

PLAN_KEY = "plan.json"
EXPORT_KEY = "slide.tif"


class Workspace:
    """A store with the layout above; ``slides`` are the files behind registered slides, ``uploads`` those
    that may become such, ``sources`` those that can be registered by an ``s3://`` URI, if any can."""

    def __init__(
        self,
        store: FileStore,
        slides: SlideFiles,
        uploads: UploadFiles,
        sources: SourceFiles | None = None,
    ) -> None:
        self.store = store
        self.slides = slides
        self.uploads = uploads
        self.sources = sources

    @staticmethod
    def location(job: JobRecord, token: int) -> str:
        """Where the package goes that is finalized under the lease ``token``."""
        return f"{job.package_id}-{token}.zarr"

    def package(self, location: str) -> ObjectStore:
        """A package's objects; keys are the Zarr keys."""
        return PrefixedStore(self.store, f"packages/{location}")

    def scratch(self, job_id: str) -> ObjectStore:
        return PrefixedStore(self.store, f"scratch/{job_id}")

    def staged(self, job_id: str, shard: ShardIndex, token: int) -> ObjectStore:
        """What the holder of the shard's lease ``token`` writes."""
        return PrefixedStore(self.store, f"scratch/{job_id}/{shard.row}_{shard.col}-{token}")

    def export(self, job_id: str, token: int) -> FileStore:
        """Where the holder of the lease ``token`` puts the file that the job restores."""
        return PrefixedStore(self.store, f"exports/{job_id}/{token}")

    def sweep(self, job: JobRecord, keep: str | None) -> None:
        """Removes what the job left, except its result and the package at ``keep``, which others may see."""
        seen = [f"packages/{keep}/"] if keep is not None else []
        if job.result is not None:
            seen.append(f"exports/{job.id}/{job.result['token']}/")
        for prefix in (f"scratch/{job.id}/", f"packages/{job.package_id}", f"exports/{job.id}/"):
            for key, _ in list(self.store.list(prefix)):
                if not key.startswith(tuple(seen)):
                    self.store.delete(key)
