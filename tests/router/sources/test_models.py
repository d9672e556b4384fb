"""Models of local tiers come from folders and from a cache, and troubles have the right reason."""

import pytest

from ggufs import gguf_file
from hub import REPO, Hub, refuse, sha256
from tiergarten_api.v1alpha1 import ModelSpec, ModelTier, SecretKeyRef
from tiergarten_fetch import Progress
from tiergarten_router.sources import models
from tiergarten_router.sources.models import Models, Unusable

SHORT = gguf_file(blocks=40)
SESAME = "sesame"


def model(source, *files):
    named = [{"name": file} if isinstance(file, str) else file for file in files]
    return ModelSpec.model_validate({"name": "demo", "source": source, "files": named or None})


def volume(*files, **more):
    return model({"volume": {"claimName": "models", **more}}, *files)


def tier(name, claim):
    source = {"volume": {"claimName": claim}}
    return ModelTier.model_validate(
        {"metadata": {"name": name}, "spec": {"model": {"name": "demo", "source": source}}}
    )


async def get(found, spec):
    seen: list[Progress] = []
    return await found.get(spec, seen.append), seen


def test_claims_without_a_folder_are_named_with_their_tiers(tmp_path):
    found = Models({"models": tmp_path})

    missing = found.missing([tier("q2", "models"), tier("q3", "more"), tier("q4", "more")])

    assert missing == (
        "claim more of q3, q4: error: no folder stands for it; add --volume more=DIR",
    )


async def test_a_volume_is_a_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.gguf", "vision.gguf", "lora.gguf"):
        (tmp_path / "deep" / name).write_bytes(SHORT)
    spec = volume(
        "a.gguf",
        {"name": "vision.gguf", "role": "Projector"},
        {"name": "lora.gguf", "role": "Adapter"},
        subPath="deep",
    )

    found, seen = await get(Models({"models": tmp_path}), spec)

    assert found.paths("Model") == [str(tmp_path / "deep/a.gguf")]
    assert found.paths("Projector") == [str(tmp_path / "deep/vision.gguf")]
    assert found.paths("Draft") == []
    assert [file.size_bytes for file in found.files] == [len(SHORT)] * 3
    assert found.header.tensor_bytes > 0
    assert [one.file for one in seen] == ["a.gguf", "vision.gguf", "lora.gguf"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, "NotFound", id="missing"),
        pytest.param(b"hello", "NotGGUF", id="another format"),
        pytest.param(SHORT[:-1], "NotGGUF", id="cut"),
        pytest.param(b"GGUF\x63" + SHORT[5:], "NotGGUF", id="another version"),
    ],
)
async def test_a_file_that_cannot_be_served_has_its_reason(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.gguf").write_bytes(content)

    with pytest.raises(Unusable, match=r"a\.gguf") as raised:
        await get(Models({"models": tmp_path}), volume("a.gguf"))

    assert raised.value.reason == reason


async def test_an_image_is_for_clusters():
    source = {"image": {"reference": f"registry.example/model@sha256:{'0' * 64}"}}

    with pytest.raises(Unusable, match=r"use source\.volume with --volume") as raised:
        await get(Models(), model(source))

    assert raised.value.reason == "ImageVolumesUnsupported"


async def test_a_model_of_the_hub_is_fetched_once(tmp_path):
    async with Hub({"a.gguf": SHORT}, token=SESAME) as hub:
        environ = {
            "HF_ENDPOINT": hub.url, "TIERGARTEN_SECRET_MY_HUB_TOKEN": SESAME, "HF_TOKEN": "another",
        }  # fmt: skip
        cache = tmp_path / "deep/cache"
        source = {"huggingFace": {"repo": REPO, "tokenSecretRef": {"name": "my-hub"}}}
        spec = model(source, "a.gguf")

        found, seen = await get(Models({}, cache, environ), spec)
        await get(Models({}, cache, environ), spec)

        assert found.files[0].path.is_relative_to(cache)
        assert found.files[0].path.read_bytes() == SHORT
        assert seen[-1].fetched_bytes == seen[-1].total_bytes == len(SHORT)
        assert len(hub.downloads) == 1
        assert hub.secrets == {f"Bearer {SESAME}"}


async def test_a_header_goes_only_to_sources_that_ask_for_it(tmp_path):
    async with Hub({"a.gguf": SHORT, "b.gguf": SHORT + b"0"}) as hub:
        environ = {"TIERGARTEN_FETCH_HEADER": "X-Api-Key: sesame", "HF_TOKEN": "not this one"}
        plain = model(
            {"http": {"url": f"{hub.url}/files/"}}, {"name": "a.gguf", "sha256": sha256(SHORT)}
        )
        await get(Models({}, tmp_path, environ), plain)
        assert hub.secrets == set()

        asks = {"url": f"{hub.url}/files/", "headerSecretRef": {"name": "store"}}
        secret = model({"http": asks}, {"name": "b.gguf", "sha256": sha256(SHORT + b"0")})
        await get(Models({}, tmp_path, environ), secret)

        assert hub.secrets == {"sesame"}


async def test_a_source_that_refuses_has_its_reason(tmp_path):
    async with Hub({"a.gguf": SHORT}) as hub:
        hub.apis += [refuse(401)]
        source = {"huggingFace": {"repo": REPO}}

        with pytest.raises(Unusable) as raised:
            await get(Models({}, tmp_path, {"HF_ENDPOINT": hub.url}), model(source, "a.gguf"))

    assert raised.value.reason == "Unauthorized"


def test_a_secret_is_an_environment_variable():
    ref = SecretKeyRef(name="my-hub.eu", key="hf-token")

    assert models.secret(ref, {"TIERGARTEN_SECRET_MY_HUB_EU_HF_TOKEN": "sesame"}) == "sesame"
    assert models.secret(ref, {"HF_TOKEN": "sesame"}, "HF_TOKEN") == "sesame"


@pytest.mark.parametrize(
    ("also", "named"),
    [("", "TIERGARTEN_SECRET_HUB_TOKEN"), ("HF_TOKEN", "TIERGARTEN_SECRET_HUB_TOKEN or HF_TOKEN")],
    ids=["one name", "two names"],
)
def test_a_secret_that_is_missing_is_named_with_its_variable(also, named):
    with pytest.raises(Unusable, match=f"set the environment variable {named}$") as raised:
        models.secret(SecretKeyRef(name="hub"), {}, also)

    assert raised.value.reason == "SecretMissing"


async def test_a_file_that_vanishes_has_a_reason_too(tmp_path):
    (tmp_path / "a.gguf").write_bytes(SHORT)

    def vanish(_progress):
        (tmp_path / "a.gguf").unlink()

    with pytest.raises(Unusable, match="No such file") as raised:
        await Models({"models": tmp_path}).get(volume("a.gguf"), vanish)

    assert raised.value.reason == "FetchFailed"
