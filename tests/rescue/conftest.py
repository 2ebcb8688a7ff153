from pathlib import Path

import pytest

from lth_sweep.rescue.result import Rescue
from lth_sweep.rescue.run import rescue
from lth_sweep.sweepfile.spec import SweepSpec
from tests.rescue.made import spec_of


@pytest.fixture(scope="package")
def all_tried(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepSpec, Path, Rescue]:
    """A rescue that tries everything."""
    folder = tmp_path_factory.mktemp("rescue")
    spec = spec_of(folder)
    return spec, folder / "runs", rescue(spec, folder / "runs", density=0.175, everything=True, serial=True)
