"""How much work is let in at a time."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from serving.errors import BusyError


class Admission:
    """Counts what is at work, for the event loop alone: no locks.

    Args:
        max_images: of all requests together.
        max_bytes: of their bodies.

    Attributes:
        images: let in and not answered yet.
        size_bytes: of the bodies that are held.
    """

    def __init__(self, *, max_images: int, max_bytes: int) -> None:
        self.max_images = max_images
        self.max_bytes = max_bytes
        self.images = 0
        self.size_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether another request would not be let in now."""
        return self.images >= self.max_images

    def busy(self) -> BusyError:
        """Why somebody is not let in."""
        return BusyError(f"{self.images} images are waiting already; ask again soon")

    def admit(self) -> Admitted:
        """Let a request in, of which nothing is known yet but that it has an image.

        Raises:
            BusyError: if there is no room for another image.
        """
        return Admitted(self)


class Admitted:
    """One request's share, given back when the ``with`` block ends.

    A request that is alone may be as large as the other limits let it.

    Args:
        admission: of which service.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.images = 0
        self.size_bytes = 0
        self.count_images(1)

    def count_images(self, images: int) -> None:
        """It has this many images, counted once; the first count is 1.

        Raises:
            BusyError: if that is more than there is room for.
        """
        admission, more = self._admission, images - self.images
        is_alone = admission.images == self.images
        if admission.images + more > admission.max_images and not is_alone:
            raise admission.busy()
        self.images += more
        admission.images += more

    def count_bytes(self, size_bytes: int) -> None:
        """Its body has this many bytes more.

        Raises:
            BusyError: if that is more than there is room for.
        """
        admission = self._admission
        is_alone = admission.size_bytes == self.size_bytes
        if admission.size_bytes + size_bytes > admission.max_bytes and not is_alone:
            raise BusyError(f"{admission.size_bytes} bytes are held already; ask again soon")
        self.size_bytes += size_bytes
        admission.size_bytes += size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._admission.images -= self.images
        self._admission.size_bytes -= self.size_bytes
        self.images = self.size_bytes = 0
