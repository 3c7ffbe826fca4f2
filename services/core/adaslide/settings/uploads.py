"""Settings of uploads that can be taken up again."""

from pydantic import Field

from adaslide.settings.group import Group


class UploadSettings(Group):
    """How long they wait, and how many are received at once."""

    expire_s: float = Field(86_400, gt=0)
    """Seconds after its last bytes that an upload which became no slide is kept."""
    at_once: int = Field(16, ge=1)
    """Uploads that a process receives at the same time; it holds up to 16 MiB of each. The next is answered
    503 with Retry-After."""
    stalled_s: float = Field(60, gt=0)
    """Seconds without a byte after which a sender is taken to be gone."""
