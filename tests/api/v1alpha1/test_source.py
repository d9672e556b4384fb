import pytest

SHA = "a" * 64
SOURCE = "spec/model/source"
FILE = "spec/model/files/0"
IMAGE = {SOURCE: {"image": {"reference": f"r.io/m@sha256:{SHA}"}}, "spec/cache/mode": "Image"}


@pytest.mark.parametrize(
    "source",
    [
        {"huggingFace": {"repo": "org/repo", "revision": "v1", "tokenSecretRef": {"name": "hf"}}},
        {"http": {"url": "https://models.example/x", "headerSecretRef": {"name": "h", "key": "k"}}},
        {"volume": {"claimName": "models", "subPath": "a/b"}},
    ],
    ids=lambda source: next(iter(source)),
)
def test_each_source_is_taken(tier, refusals, source):
    assert refusals(tier({SOURCE: source})) == []


def test_an_image_is_taken_without_files(tier, refusals):
    assert refusals(tier(IMAGE | {"spec/model/files": ...})) == []


@pytest.mark.parametrize(
    "source",
    [{}, {"huggingFace": {"repo": "a/b"}, "volume": {"claimName": "x"}}, {"volume": None}],
    ids=["none", "two", "null"],
)
def test_exactly_one_source_is_taken(tier, refusals, source):
    (refusal,) = refusals(tier({SOURCE: source}))

    assert "exactly one of huggingFace, http, image or volume" in refusal


@pytest.mark.parametrize(
    "reference",
    ["r.io/m:1", f"r.io/m@sha256:{SHA}0", f"r@sha256:{SHA[:-1]}", f"r@sha256:{SHA.upper()}", SHA],
)
def test_an_image_is_pinned_by_digest(tier, refusals, reference):
    refused = refusals(tier(IMAGE | {f"{SOURCE}/image/reference": reference}))

    assert refused == ["spec.model.source.image.reference: must be pinned by digest"]


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "HTTPS://h:8080/a%20b?q=%zz",
        "https://user:p%40ss@host/x",
        "http://[::1]:80/",
        "http://[fe80::1%25eth0]/x",
        "http://bücher.example/ü",
        "http://h/a b",
    ],
)
def test_an_http_url_is_taken(tier, refusals, url):
    assert refusals(tier({SOURCE: {"http": {"url": url}}})) == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "h/x",
        "//h/x",
        "",
        "http://h:x/",
        "http://h/%zz",
        "http://a b/",
        "http://h/\x7f",
        "http://[::1/",
        "http://%41/",
        "http://%zz@h/",
        "http://h/?q#%zz",
        "https:/ /h",
    ],
)
def test_another_url_is_refused(tier, refusals, url):
    (refusal,) = refusals(tier({SOURCE: {"http": {"url": url}}}))

    assert "must be an http or https URL" in refusal or "must name a host" in refusal


@pytest.mark.parametrize("url", ["http:///x", "http:x", "https://:80/", "http://u@/x"])
def test_a_url_names_a_host(tier, refusals, url):
    assert refusals(tier({SOURCE: {"http": {"url": url}}})) == [
        "spec.model.source.http.url: must name a host"
    ]


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../b", "a..b"])
def test_a_folder_of_a_volume_is_inside_it(tier, refusals, path):
    (refusal,) = refusals(tier({SOURCE: {"volume": {"claimName": "c", "subPath": path}}}))

    assert 'must be a relative path with no ".."' in refusal


@pytest.mark.parametrize("name", ["../x.gguf", "/x.gguf", "x.bin", "x.gguf.tmp", ""])
def test_a_file_is_a_gguf_inside_the_source(tier, refusals, name):
    refusal, *_ = refusals(tier({f"{FILE}/name": name}))

    assert refusal == "spec.model.files.0.name: must be a relative path ending in .gguf"


@pytest.mark.parametrize("repo", ["repo", "a/b/c", "a/b c", "a/b\n", "bücher/x", "a/"])
def test_a_repository_is_owner_and_name_in_ascii(tier, refusals, repo):
    (refusal,) = refusals(tier({SOURCE: {"huggingFace": {"repo": repo}}}))

    assert refusal.startswith("spec.model.source.huggingFace.repo: ")


@pytest.mark.parametrize(
    "source", [{"huggingFace": {"repo": "a/b"}}, {"http": {"url": "http://h"}}]
)
def test_a_fetched_source_names_its_files(tier, refusals, source):
    (refusal,) = refusals(tier({SOURCE: source, "spec/model/files": ...}))

    assert refusal == "spec.model: files is required for huggingFace and http sources"


def test_a_volume_needs_no_files(tier, refusals):
    changes = {SOURCE: {"volume": {"claimName": "c"}}, "spec/model/files": ...}

    assert refusals(tier(changes)) == []


def test_one_file_is_the_model(tier, refusals):
    assert refusals(tier({f"{FILE}/role": "Projector"})) == [
        "spec.model: one file must have the role Model"
    ]


def test_a_file_is_named_once(tier, refusals):
    files = [{"name": "a.gguf"}, {"name": "a.gguf", "role": "Draft"}]

    assert refusals(tier({"spec/model/files": files})) == [
        "spec.model.files: Duplicate value: a.gguf"
    ]


@pytest.mark.parametrize("number", [0, 65])
def test_there_are_1_to_64_files(tier, refusals, number):
    files = [{"name": f"{index}.gguf"} for index in range(number)]

    assert len(refusals(tier({"spec/model/files": files}))) == 1


@pytest.mark.parametrize("sha256", ["abc", SHA.upper(), SHA + "0", SHA + "\n"])
def test_a_checksum_is_64_hexadecimal_digits(tier, refusals, sha256):
    refusal, *_ = refusals(tier({f"{FILE}/sha256": sha256}))

    assert "should match pattern" in refusal


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a b", "a\n", "x" * 97])
def test_a_model_name_is_lower_case_and_bounded(tier, refusals, name):
    assert len(refusals(tier({"spec/model/name": name}))) == 1


@pytest.mark.parametrize("name", ["a", "deepseek-r1:8b", "org/model.v2", "x" * 96])
def test_a_model_name_may_look_like_those_of_other_servers(tier, refusals, name):
    assert refusals(tier({"spec/model/name": name})) == []
