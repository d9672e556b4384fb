"""What counts as drift, and what the API server only writes in another way."""

from typing import Any

import pytest

from tiergarten_operator import drift


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"cpu": "0.5"}, {"cpu": "500m"}),
        ({"memory": "1024Mi"}, {"memory": "1Gi"}),
        ({"cpu": 1}, {"cpu": "1"}),
        ({"value": ""}, {}),
        ({"emptyDir": {}}, {}),
        ({"egress": []}, {}),
        ({"x": None}, {}),
        ({"flag": False}, {}),
        ({"n": {"deep": {}}}, {"n": None}),
        ([{"name": "a", "v": 1}], [{"name": "foreign"}, {"name": "a", "v": 1, "w": 2}]),
        (
            [{"mountPath": "/a", "name": "v"}, {"mountPath": "/b", "name": "v"}],
            [{"mountPath": "/b", "name": "v"}, {"mountPath": "/a", "name": "v"}],
        ),
        ([1, 2], [1, 2]),
        ([], None),
        ({"cpu": "500000000n"}, {"cpu": "500m"}),
    ],
)
def test_is_no_drift(wanted: Any, live: Any) -> None:
    assert list(drift.differences(wanted, live)) == []


@pytest.mark.parametrize(
    ("wanted", "live", "path"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b"),
        ({"a": {"b": 1}}, {"a": "text"}, "a"),
        ({"a": {"b": 1}}, {}, "a"),
        ({"a": 1}, {}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": ["x"]}, {"a": ["x", "y"]}, "a"),
        ({"a": ["x", "z"]}, {"a": ["x", "y"]}, "a[1]"),
        ({"a": [{"name": "n", "v": 1}]}, {"a": [{"name": "n", "v": 2}]}, "a[n].v"),
        ({"a": [{"name": "n", "v": 1}]}, {"a": []}, "a[n]"),
        ({"a": [{"k": 1}, {"name": "n"}]}, {"a": [{"k": 2}, {"name": "n"}]}, "a[0].k"),
        ({"image": "a"}, {"image": "b"}, "image"),
    ],
)
def test_is_drift_and_says_where(wanted: Any, live: Any, path: str) -> None:
    assert list(drift.differences(wanted, live)) == [path]
