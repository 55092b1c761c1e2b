import os

import pytest

from knap_host import REAL_VAULTS, Place


@pytest.fixture
def place():
    made = Place()
    yield made
    made.close()


@pytest.fixture(params=["docs", "Tasks-Demo"])
def real_place(request):
    if not REAL_VAULTS.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{REAL_VAULTS} is missing; set KNAP_DATA")
        pytest.skip(f"{REAL_VAULTS} is missing; set KNAP_DATA")
    made = Place(REAL_VAULTS / request.param)
    yield made
    made.close()
