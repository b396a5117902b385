"""How much one request may ask for, counted before memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

from serving.errors import TooManyImagesError, TooManyPixelsError


@dataclass(frozen=True)
class ImageLimits:
    """How much one request may ask for.

    Attributes:
        max_images: images of a request.
        max_pixels: height times width of one image.
        max_request_pixels: the same, summed over a request.
    """

    max_images: int
    max_pixels: int
    max_request_pixels: int


class ImageCount:
    """The images of one request so far, and their pixels, held against the limits.

    Attributes:
        images: how many were added.
        pixels: height times width, summed over them.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self.limits = limits
        self.images = 0
        self.pixels = 0

    def add(self, images: int, height: int, width: int) -> None:
        """Count images of one size.

        Raises:
            TooManyImagesError: if the request has more images than it may have.
            TooManyPixelsError: if one image, or all of them together, has more pixels.
        """
        self.images += images
        self.pixels += images * height * width
        limits = self.limits
        if self.images > limits.max_images:
            raise TooManyImagesError(
                f"at most {limits.max_images} images a request, found at least "
                f"{self.images}; send them in several requests"
            )
        self.require_size(height, width)
        if self.pixels > limits.max_request_pixels:
            raise TooManyPixelsError(
                f"at most {limits.max_request_pixels} pixels a request, found at least "
                f"{self.pixels}; send the images in several requests"
            )

    def require_size(self, height: int, width: int) -> None:
        """Refuse an image that is too large, without counting it.

        Raises:
            TooManyPixelsError: if it has more pixels than one image may have.
        """
        if height * width > self.limits.max_pixels:
            raise TooManyPixelsError(
                f"at most {self.limits.max_pixels} pixels an image, found {height} x {width}; "
                "make it smaller first"
            )
