"""Everything that can go wrong, as one tree.

::

    AdaSlideError
    ├── InputError                 what the caller gave cannot be used          (exit 3)
    │   ├── SlideUnsupported       not a slide this build can read
    │   ├── SlideCorrupt           a slide, but damaged, crashing or hanging its reader
    │   ├── MissingMpp             micrometres per pixel unknown and not supplied
    │   ├── SlideTooLarge          over the limits that keep a service alive
    │   ├── RegionOutOfRange       a region, level or tile outside the slide
    │   ├── MediaTypeUnsupported   a body of a kind that is not read there
    │   ├── ProtocolUnsupported    a version of a protocol that is not spoken
    │   ├── ProfileInvalid         no such profile, or settings it does not allow
    │   └── RatioOutOfReach        no package of the asked size holds the floors
    ├── Unauthenticated            who asks is not known
    ├── Denied                     whoever asks may not
    │   └── RestoredNotForPrimary  restored pixels were asked for primary diagnosis
    ├── NotFound                   no such slide, job or package
    ├── Conflict                   the request contradicts what is already there
    │   └── Held                   a legal hold forbids the removal
    ├── PackageError               a package that does not keep its promise     (exit 4)
    │   ├── ChecksumMismatch       stored bytes are not the bytes that were written
    │   ├── UnsupportedVersion     written by a newer version, or by something else
    │   └── QualityBelowFloor      a patch is below the floor its package promises
    ├── ModelError
    │   ├── WeightsMissing         a payload names weights that are not installed
    │   ├── DigestMismatch         weights whose sha256 is not the one named
    │   └── RuntimeMismatch        a runtime whose output is not that of the one that measured
    ├── StoreRefused               the store says no: wrong keys, no such bucket, a setting it does not know
    └── Unavailable                try again later (retryable)                  (exit 5)
        ├── StoreUnavailable
        ├── BrokerUnavailable
        ├── IdentityUnavailable
        └── RestoreTimeout

``code`` is stable and public (it ends the problem type's URI); ``retryable`` says whether the
same call may succeed later. Messages carry no patient data: never a path, a label or a
property's value of the slide.
"""

from typing import Any, ClassVar


class AdaSlideError(Exception):
    """Base of every error raised on purpose."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.more: dict[str, Any] = {}
        """Members that a problem document tells besides."""


class InputError(AdaSlideError, ValueError):
    code = "invalid-input"


class SlideUnsupported(InputError):
    code = "unsupported-format"


class SlideCorrupt(InputError):
    code = "corrupt-slide"


class MissingMpp(InputError):
    code = "missing-mpp"


class SlideTooLarge(InputError):
    code = "slide-too-large"


class RegionOutOfRange(InputError):
    code = "region-out-of-range"


class MediaTypeUnsupported(InputError):
    code = "unsupported-media-type"


class ProtocolUnsupported(InputError):
    code = "unsupported-protocol"


class ProfileInvalid(InputError):
    code = "profile-invalid"


class RatioOutOfReach(InputError):
    code = "ratio-out-of-reach"


class Unauthenticated(AdaSlideError):
    code = "unauthenticated"


class Denied(AdaSlideError):
    code = "forbidden"


class RestoredNotForPrimary(Denied):
    code = "restored-not-for-primary"

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.more = more


class NotFound(AdaSlideError, LookupError):
    code = "not-found"


class Conflict(AdaSlideError):
    code = "conflict"


class Held(Conflict):
    code = "held"


class PackageError(AdaSlideError):
    code = "package-error"


class ChecksumMismatch(PackageError):
    code = "checksum-mismatch"


class UnsupportedVersion(PackageError):
    code = "unsupported-version"


class QualityBelowFloor(PackageError):
    code = "quality-below-floor"


class ModelError(AdaSlideError):
    code = "model-error"


class WeightsMissing(ModelError):
    code = "weights-missing"


class DigestMismatch(ModelError):
    code = "digest-mismatch"


class RuntimeMismatch(ModelError):
    code = "runtime-mismatch"


class StoreRefused(AdaSlideError):
    code = "store-refused"


class Unavailable(AdaSlideError):
    code = "unavailable"
    retryable = True


class StoreUnavailable(Unavailable):
    code = "store-unavailable"


class BrokerUnavailable(Unavailable):
    code = "broker-unavailable"


class IdentityUnavailable(Unavailable):
    code = "identity-unavailable"


class RestoreTimeout(Unavailable):
    code = "restore-timeout"
