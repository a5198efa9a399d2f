"""The operator's image as a fixture; `tests/conftest.py` registers it."""

from __future__ import annotations

import pytest
from image import build, debian
from image.build import Built
from image.layout import ImageError
from tests.kit.ci import ROOT_IN_CI


@pytest.fixture(scope="session")
def image() -> Built:
    """The image of this checkout, as `make image` makes it without Docker: once, then from the cache."""
    require_image()
    return build.build()


def require_image() -> None:
    """Skip the test where no image can be made; in CI, as root, that is a failure."""
    try:
        debian.packages()
    except ImageError as error:
        if ROOT_IN_CI:
            pytest.fail(f"CI as root must be able to make the image: {error}")
        pytest.skip(str(error))
