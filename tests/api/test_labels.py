from tiergarten_api import labels


def test_labels_and_annotations_are_in_our_group_or_that_of_kubernetes():
    names = [labels.TIER, labels.PAUSED, labels.REFETCH, labels.OBJECT_HASH, labels.TEMPLATE_HASH]

    assert all(name.startswith(f"{labels.GROUP}/") for name in names)
    assert f"{labels.GROUP}/{labels.VERSION}" == labels.API_VERSION


def test_no_name_stands_for_two_things():
    names = [
        value
        for name, value in vars(labels).items()
        if name.isupper() and isinstance(value, str) and "/" in value
    ]

    assert len(names) == len(set(names))
