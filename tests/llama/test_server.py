"""The program serves, queues, cancels and stops as llama-server does."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from llama_process import LlamaProcess
from tiergarten_api import llama
from tiergarten_api.v1alpha1 import ModelTierSpec

CHAT = "/v1/chat/completions"
Models = Callable[[str], Path]


def ask(text: str, **fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]} | fields


def endless(**fields: object) -> dict[str, object]:
    """Return a query that is answered for some seconds."""
    return ask("hi", max_tokens=6000, ignore_eos=True, **fields)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; it must come by itself."""
    command = [sys.executable, "-m", "tiergarten_llama.server", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.fixture
def small(scripted_server: Callable[..., LlamaProcess]) -> Iterator[httpx.Client]:
    """A client of a shared server with two slots."""
    url = scripted_server("small", "--alias", "small-tier", "--parallel", "2").url
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_it_answers_in_the_name_of_its_tier(small: httpx.Client) -> None:
    answer = small.post(CHAT, json=ask("What is the capital of France?", temperature=0)).json()

    choice = answer["choices"][0]
    assert choice["message"]["content"] == (
        "The small model says that the capital of France is Paris."
    )
    assert choice["finish_reason"] == "stop"
    assert answer["model"] == "small-tier"
    assert answer["usage"]["completion_tokens"] > 5


def events(response: httpx.Response) -> Iterator[str]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def test_a_stream_ends_with_its_usage(small: httpx.Client) -> None:
    body = ask("Tell me about the cache", stream=True, stream_options={"include_usage": True})

    with small.stream("POST", CHAT, json=body) as response:
        *chunks, usage, done = events(response)

    assert done == "[DONE]"
    assert json.loads(usage)["usage"]["completion_tokens"] > 10
    pieces = [json.loads(chunk)["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(pieces).startswith("The small model says that a cache keeps")


def test_its_slots_share_the_context(small: httpx.Client) -> None:
    slots = small.get("/slots").json()

    assert [slot["n_ctx"] for slot in slots] == [4096, 4096]


def test_it_calls_a_tool_when_it_is_given_one(small: httpx.Client) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": city}}

    answer = small.post(CHAT, json=ask("Is it warm?", tools=[tool])).json()

    call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})


def test_it_wants_a_key_for_all_but_health(
    scripted_model: Models, llama_server: Callable[..., LlamaProcess], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# comment\nfrom-file\n")
    files = ("--api-key-file", str(keys))
    server = llama_server(scripted_model("small"), *files, environ={"LLAMA_API_KEY": "k1,k2"})

    with httpx.Client(base_url=server.url, timeout=30) as client:
        refused = client.post(CHAT, json=ask("x", max_tokens=1))
        headers: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer bad"},
            {"Authorization": "Bearer k1"},
            {"X-Api-Key": "k2"},
            {"X-Api-Key": "from-file"},
        ]
        statuses = [client.get("/metrics", headers=each).status_code for each in headers]
        health = client.get("/health").status_code

    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "authentication_error"
    assert (statuses, health) == ([401, 401, 200, 200, 200], 200)


def test_it_embeds_when_it_is_told_to(
    scripted_model: Models, llama_server: Callable[..., LlamaProcess], small: httpx.Client
) -> None:
    texts = {"input": ["one", "two words"]}
    server = llama_server(scripted_model("small"), "--embeddings", "--pooling", "mean")

    vectors = httpx.post(f"{server.url}/v1/embeddings", json=texts).json()["data"]
    refused = small.post("/v1/embeddings", json=texts)

    assert [len(vector["embedding"]) for vector in vectors] == [512, 512]
    assert refused.status_code == 501


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"loadMode": "none"}, id="read"),
        pytest.param({"loadMode": "dio"}, id="direct"),
        pytest.param({"kvCache": {"k": "q8_0", "v": "q4_0"}}, id="quantised cache"),
        pytest.param({"gpuLayers": 3, "extraArgs": ["--temp=0.3", "-b", "64"]}, id="extras"),
    ],
)
def test_the_command_line_of_a_tier_starts_it(
    runtime: dict[str, object], scripted_model: Models, llama_server: Callable[..., LlamaProcess]
) -> None:
    file = scripted_model("small")
    model = {"name": "of-a-tier", "source": {"volume": {"claimName": "models"}}}
    spec = ModelTierSpec.model_validate({"model": model, "runtime": runtime})
    line = llama.argv(spec, str(file), host="127.0.0.1", port=0, draft=str(file))

    server = llama_server(file, *line)
    answer = httpx.post(f"{server.url}{CHAT}", json=ask("Thanks!", temperature=0)).json()

    assert answer["model"] == "of-a-tier"
    assert "happy to help" in answer["choices"][0]["message"]["content"]
    assert answer["timings"]["draft_n_accepted"] > 0


def test_queries_beyond_its_slots_wait(
    random_model: Models, llama_server: Callable[..., LlamaProcess]
) -> None:
    server = llama_server(random_model("tiny"), "--parallel", "1")
    queries = 3

    with ExitStack() as streams:
        pool = streams.enter_context(ThreadPoolExecutor(queries))
        client = streams.enter_context(httpx.Client(base_url=server.url, timeout=30))

        def read() -> int:
            with client.stream("POST", CHAT, json=endless(stream=True) | {"max_tokens": 2000}) as r:
                return sum(1 for _ in r.iter_lines())

        reading = [pool.submit(read) for _ in range(queries)]
        server.wait(lambda: server.load() == (1, queries - 1), "two wait for the third")
        lengths = [each.result() for each in reading]

    assert all(length > 2000 for length in lengths)
    assert server.load() == (0, 0)


def opened(server: LlamaProcess, body: dict[str, object]) -> socket.socket:
    """Return a connection on which a query was sent and nothing was read."""
    raw = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0))
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n\r\n"
    connection.sendall(head.encode() + raw)
    return connection


def test_a_dropped_stream_is_cancelled_in_its_slot_and_in_the_queue(
    random_model: Models, llama_server: Callable[..., LlamaProcess]
) -> None:
    server = llama_server(random_model("small"), "--parallel", "1")
    with closing(opened(server, endless(stream=True))):
        server.wait(lambda: server.load() == (1, 0), "one is answered")
        with closing(opened(server, endless(stream=True))):
            server.wait(lambda: server.load() == (1, 1), "one waits")

    server.wait(lambda: server.load() == (0, 0), "both are gone")

    assert server.metrics()["tokens_predicted_total"] < 6000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_a_signal(
    number: signal.Signals, random_model: Models, llama_server: Callable[..., LlamaProcess]
) -> None:
    server = llama_server(random_model("tiny"))

    server.process.send_signal(number)

    assert server.process.wait(10) == 0


def test_a_stop_cuts_a_stream_and_ends_at_its_next_ping(
    random_model: Models, llama_server: Callable[..., LlamaProcess]
) -> None:
    server = llama_server(random_model("small"))
    with closing(opened(server, endless(stream=True))) as stream:
        assert stream.recv(100).startswith(b"HTTP/1.1 200")

        server.process.terminate()

        assert server.process.wait(10) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health")


def test_a_second_signal_ends_a_stop_that_hangs(
    random_model: Models, llama_server: Callable[..., LlamaProcess]
) -> None:
    server = llama_server(random_model("small"), "--sse-ping-interval", "600")
    with closing(opened(server, endless(stream=True))) as stream:
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        server.process.terminate()
        server.wait(lambda: not listens(server), "the listener is closed")

        server.process.terminate()

        assert server.process.wait(10) == -signal.SIGTERM


def listens(server: LlamaProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0)).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_while_it_loads_it_says_so_and_a_signal_ends_it_at_once(
    random_model: Models, tmp_path: Path
) -> None:
    port = free_port()
    slow = ("--load-mode", "none", "--check-tensors", "--port", str(port))
    server = LlamaProcess(random_model("medium"), tmp_path / "log", *slow).start()
    try:
        server.wait(lambda: status_at(port) is not None, "the socket is open")
        status = status_at(port)
        server.process.terminate()
        ended = server.process.wait(10)
    finally:
        server.kill()

    assert status in {200, 503}  # ready already, on a machine that is fast
    assert ended == 0


def status_at(port: int) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code
    except httpx.TransportError:
        return None


def test_an_unknown_option_ends_it() -> None:
    ended = run("--model", "x.gguf", "--mlock")

    assert ended.returncode == 1
    assert last_line(ended.stderr) == "error: invalid argument: --mlock"


def test_a_missing_model_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "none.gguf"
    ended = run(LLAMA_ARG_MODEL=str(file))

    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: failed to open GGUF file '{file}': No such file or directory\n"
    )


@pytest.mark.parametrize("option", ["--model", "--mmproj", "--lora", "--spec-draft-model"])
def test_a_file_that_is_no_model_ends_it(
    option: str, scripted_model: Models, tmp_path: Path
) -> None:
    file = tmp_path / "page.gguf"
    file.write_text("<!DOCTYPE html>")
    ended = run("--model", str(scripted_model("small")), option, str(file))

    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: failed to load GGUF file '{file}': it begins with b'<!DO' and not with b'GGUF'\n"
    )


def test_a_model_that_was_cut_ends_it(scripted_model: Models, tmp_path: Path) -> None:
    file = tmp_path / "cut.gguf"
    whole = scripted_model("small").read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    ended = run("--model", str(file))

    assert ended.returncode == 1
    assert f"it has {len(whole) // 2} of " in ended.stderr


def test_what_llama_cpp_refuses_ends_it(scripted_model: Models) -> None:
    quantised = ("--flash-attn", "off", "--cache-type-v", "q4_0")
    ended = run("--model", str(scripted_model("small")), *quantised)

    assert ended.returncode == 1
    assert last_line(ended.stderr).startswith("error: ")


def test_an_option_that_cannot_be_used_ends_it(scripted_model: Models) -> None:
    ended = run("--model", str(scripted_model("small")), "--slot-save-path", "/no/such/folder")

    assert ended.returncode == 1
    assert last_line(ended.stderr) == "error: --slot-save-path: /no/such/folder is not a folder"
