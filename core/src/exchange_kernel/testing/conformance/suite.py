"""The test class an author derives from: one test per case, and more of them with every newer kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from exchange_kernel.testing.conformance.harness import Harness
from exchange_kernel.testing.conformance.registry import Case
from exchange_kernel.testing.conformance.run import judged, run_case

__all__ = ["VenueConformance"]


class VenueConformance:
    """Derive from it, name the class ``Test…``, and give it a ``harness`` fixture.

    ``deviations``: more of them than the harness names itself, for this class only.
    """

    deviations: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def harness(self) -> Harness:
        """The venue under test, new for each case."""
        raise NotImplementedError(f"{type(self).__name__} needs a `harness` fixture that returns its Harness")

    def test_case(self, exk_case: Case, harness: Harness, request: pytest.FixtureRequest) -> None:
        """One case of the kit."""
        result = judged(run_case(exk_case, harness), {**harness.deviations, **self.deviations})
        # Plain data: with several workers it travels between processes.
        request.node.user_properties.append(("exk_result", result.to_dict()))
        if result.status == "failed":
            pytest.fail(f"{exk_case.id} {exk_case.title}\n\n{result.reason}\n\n{exk_case.doc}", pytrace=False)
        if result.status == "deviation":
            pytest.xfail(result.reason)
        if result.status in ("missing", "unsupported"):
            pytest.skip(result.reason)
