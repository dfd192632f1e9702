from pathlib import Path

import pytest

from akazuba.errors import InputError
from akazuba.settings import from_environ


def test_the_data_folder_follows_xdg_unless_named() -> None:
    assert from_environ({"AKAZUBA_HOME": "/a"}).home == Path("/a")
    assert from_environ({"XDG_DATA_HOME": "/b"}).home == Path("/b/akazuba")


@pytest.mark.parametrize("threads", ["0", "65", "two", "", "-1", "1.5"])
def test_an_impossible_thread_count_is_refused_by_name(threads: str) -> None:
    with pytest.raises(InputError, match="AKAZUBA_THREADS: expected a whole number from 1 to 64"):
        from_environ({"AKAZUBA_THREADS": threads})
