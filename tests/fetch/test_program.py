"""The program as a Job, an init step or a person runs it: a process of its own."""

import asyncio
import json
import os
import pty
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from behaviours import End
from fetchables import NAME, hub_model, volume_model, web_model
from ggufs import gguf_file
from hub import COMMIT, Hub, cut, good, hold, refuse, sha256
from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import layout, outcomes
from tiergarten_fetch.program import main

PAYLOAD = gguf_file(blocks=4000)
SHORT = gguf_file(blocks=40)
CANARY = "canary-secret"


def spec(model: ModelSpec) -> bytes:
    return model.model_dump_json(by_alias=True, exclude_none=True).encode()


async def start(hub: Hub, root: Path, *arguments: str, **environ: str) -> Process:
    """Start the program; its spec comes by stdin unless the arguments name one."""
    usual = {"HF_ENDPOINT": hub.url, "TIERGARTEN_FETCH_LOOPBACK": "1"}
    command = [sys.executable, "-m", "tiergarten_fetch.program", "--dir", str(root), *arguments]
    if "--spec" not in arguments:
        command += ["--spec", "-"]
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=os.environ | usual | environ
    )


async def run(
    hub: Hub, root: Path, model: ModelSpec, *arguments: str, **environ: str
) -> tuple[int | None, list[str], str]:
    """Return exit code, lines of stdout, and stderr."""
    process = await start(hub, root, *arguments, **environ)
    out, err = await process.communicate(spec(model))
    return process.returncode, out.decode().splitlines(), err.decode()


async def test_lines_of_progress_end_with_the_result_which_is_the_termination_message_too(
    tmp_path: Path,
):
    log = tmp_path / "log"
    async with Hub({NAME: PAYLOAD}, token=CANARY) as hub:
        arguments = ("--progress", "json", "--termination-log", str(log))
        code, lines, err = await run(hub, tmp_path, hub_model(), *arguments, HF_TOKEN=CANARY)

    assert (code, err) == (0, "")
    assert json.loads(lines[-2]) == {
        "file": NAME,
        "doing": "done",
        "fetched_bytes": len(PAYLOAD),
        "total_bytes": len(PAYLOAD),
    }
    assert log.read_text() == lines[-1]
    outcome = outcomes.read(lines[-1])
    assert outcome is not None
    assert (outcome.reason, outcome.revision) == ("Verified", COMMIT)
    assert outcome.digest == sha256(PAYLOAD)
    assert outcome.header is not None
    assert (outcome.header.architecture, outcome.header.layers) == ("llama", 2)
    assert CANARY not in "".join(lines)


@pytest.mark.parametrize(
    ("payload", "model", "code", "reason"),
    [
        (SHORT, hub_model({"name": NAME, "sha256": "0" * 64}), 41, "ChecksumMismatch"),
        (SHORT, hub_model("other.gguf"), 42, "NotFound"),
        (SHORT, hub_model(revision="none"), 42, "NotFound"),
        (b"<html>", hub_model(), 45, "NotGGUF"),
        (SHORT, web_model("https://user:secret@models.invalid/x"), 1, "FetchFailed"),
    ],
)
async def test_each_failure_has_its_exit_code_and_reason(
    payload: bytes, model: ModelSpec, code: int, reason: str, tmp_path: Path
):
    log = tmp_path / "log"
    async with Hub({NAME: payload}) as hub:
        found, lines, err = await run(hub, tmp_path, model, "--termination-log", str(log))

    assert (found, err) == (code, "")
    told = json.loads(lines[-1])
    assert (told["reason"], told["exit_code"]) == (reason, code)
    assert told["message"]
    assert log.read_text() == lines[-1]


async def test_a_refused_secret_is_unauthorized_and_in_no_output(tmp_path: Path):
    async with Hub({NAME: SHORT}, token="other") as hub:  # noqa: S106 # not a secret
        model = web_model(f"{hub.url}/files/{NAME}")
        header = f"Authorization: Bearer {CANARY}"
        code, lines, err = await run(hub, tmp_path, model, TIERGARTEN_FETCH_HEADER=header)

    assert code == 43
    assert CANARY not in "".join(lines) + err
    assert hub.secrets == {f"Bearer {CANARY}"}


async def test_a_killed_fetch_is_continued_by_the_next_where_it_was(tmp_path: Path):
    half = len(PAYLOAD) // 2
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [cut(half), hold(half // 2, asyncio.Event())]
        first = await start(hub, tmp_path, "--progress", "json")
        assert first.stdin is not None
        first.stdin.write(spec(hub_model()))
        first.stdin.close()
        await hub.until(lambda: len(hub.downloads) == 2)
        first.kill()
        await first.wait()
        code, _, err = await run(hub, tmp_path, hub_model(), "--lock-wait", "60")

    assert first.returncode == -signal.SIGKILL
    assert (code, err) == (0, "")
    begin = int((hub.ranges[-1] or "bytes=0-")[6:-1])
    assert begin >= half
    (done,) = (tmp_path / "models").glob(f"*/{NAME}")
    assert done.read_bytes() == PAYLOAD


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_fetch_and_gives_its_lock_up(
    number: signal.Signals, tmp_path: Path
):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [hold(1000, asyncio.Event())]
        process = await start(hub, tmp_path)
        assert process.stdin is not None
        process.stdin.write(spec(hub_model()))
        process.stdin.close()
        await hub.until(lambda: bool(hub.downloads))
        process.send_signal(number)
        out, err = await process.communicate()

    assert process.returncode == 128 + number
    assert err == b""
    assert f"stopped by {number.name}" in json.loads(out.splitlines()[-1])["message"]
    names = {path.name.removeprefix(sha256(PAYLOAD)) for path in (tmp_path / "blobs").iterdir()}
    assert names == {".partial", ".partial.json"}


async def test_two_processes_on_one_folder_download_once(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        both = await asyncio.gather(*(run(hub, tmp_path, hub_model()) for _ in range(2)))

    assert [code for code, _, _ in both] == [0, 0]
    assert both[0][1][-1] == both[1][1][-1]
    assert len(hub.downloads) == 1


async def test_a_spec_may_be_a_file_and_progress_silent(tmp_path: Path):
    path = tmp_path / "spec.json"
    path.write_bytes(spec(hub_model(revision="gone")))
    async with Hub({NAME: SHORT}) as hub:
        arguments = ("--spec", str(path), "--progress", "none", "--revision", COMMIT)
        code, lines, _ = await run(hub, tmp_path, hub_model(), *arguments)
        again, _, _ = await run(hub, tmp_path, hub_model(), *arguments, "--refetch")

    assert (code, again) == (0, 0)
    assert len(lines) == 1
    assert len(hub.downloads) == 1


async def test_errors_that_pass_are_told_while_they_last(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.gets = [refuse(503), good, cut(10, End.RESET)]
        code, lines, _ = await run(hub, tmp_path, hub_model(), "--endpoint", hub.url)

    assert code == 0
    assert any("answers 503" in json.loads(line).get("note", "") for line in lines)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", "spec.model."),
        (b'{"name": "x"}', "spec.model.source: Field required"),
        (b'{"name": "x", "source": {"http": {"url": "https://x"}}}', "files is required"),
        (b"\xff", "UTF-8"),
    ],
)
def test_a_spec_that_is_none_is_named_by_its_field(
    text: bytes, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "spec.json"
    path.write_bytes(text)

    code = main(["--spec", str(path), "--dir", str(tmp_path), "--progress", "json"])

    assert code == 1
    assert word in json.loads(capsys.readouterr().out)["message"]


def test_a_spec_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = main(["--spec", str(tmp_path / "none"), "--progress", "json"])

    assert code == 1
    assert "No such file" in json.loads(capsys.readouterr().out)["message"]


def test_a_pod_checks_its_folder_without_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    log = tmp_path / "log"
    assert main(["--check", str(tmp_path), "--termination-log", str(log)]) == 42
    assert "its fetch has not ended" in capsys.readouterr().err
    (tmp_path / NAME).write_bytes(SHORT)
    entry = {"name": NAME, "size": len(SHORT), "sha256": sha256(SHORT)}
    (tmp_path / layout.COMPLETE).write_text(json.dumps({"files": [entry]}))

    assert main(["--check", str(tmp_path), "--termination-log", str(log)]) == 0

    assert capsys.readouterr().err == f"Verified: 1 files, {len(SHORT)} bytes\n"
    outcome = outcomes.read(log.read_text())
    assert outcome is not None
    assert outcome.size == len(SHORT)


def test_a_volume_is_verified_although_the_log_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / NAME).write_bytes(SHORT)
    path = tmp_path / "spec.json"
    path.write_bytes(spec(volume_model()))
    log = tmp_path / "none" / "log"

    code = main(["--spec", str(path), "--dir", str(tmp_path), "--termination-log", str(log)])

    assert code == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["reason"] == "Verified"


async def test_a_person_at_a_terminal_sees_a_bar_and_a_sentence(tmp_path: Path):
    terminal, theirs = pty.openpty()
    path = tmp_path / "spec.json"
    path.write_bytes(spec(hub_model()))
    async with Hub({NAME: SHORT}) as hub:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tiergarten_fetch.program"),
            *("--spec", str(path), "--dir", str(tmp_path)),
            stdout=PIPE,
            stderr=theirs,
            env=os.environ | {"HF_ENDPOINT": hub.url, "TERM": "xterm"},
        )
        out, _ = await process.communicate()
    os.close(theirs)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)

    assert process.returncode == 0
    assert json.loads(out)["reason"] == "Verified"  # for whatever it is piped into
    assert NAME in shown
    assert f"Verified: 1 files, {len(SHORT)} bytes" in shown


def test_arguments_have_no_place_for_a_secret(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])

    said = capsys.readouterr().out
    assert "--token" not in said
    assert "HF_TOKEN" in said
