"""What a replica is started from, and when two are the same."""

from tiergarten_router.sources.template import File, Template


def test_the_command_has_the_port_that_is_asked_for():
    template = Template(("llama-server", "--host", "127.0.0.1", "--port", "0", "--ctx-size", "0"))

    assert template.command(4711) == [
        "llama-server", "--host", "127.0.0.1", "--port", "4711", "--ctx-size", "0",
    ]  # fmt: skip


def test_the_environment_has_neither_our_settings_nor_the_users_tokens():
    base = {
        "PATH": "/bin", "HF_TOKEN": "secret", "TIERGARTEN_REDIS_URL": "secret",
        "LLAMA_ARG_PORT": "1", "LLAMA_API_KEY": "secret", "HUGGING_FACE_HUB_TOKEN": "secret",
    }  # fmt: skip

    environment = Template((), (("LLAMA_ARG_CACHE_REUSE", "8"),)).environment(base)

    assert environment == {"PATH": "/bin", "LLAMA_ARG_CACHE_REUSE": "8"}


def test_the_key_is_the_first_that_the_server_takes():
    assert Template(()).api_key == ""
    assert Template((), (("LLAMA_API_KEY", "one,two"),)).api_key == "one"


def test_secrets_are_not_shown():
    assert "one" not in repr(Template((), (("LLAMA_API_KEY", "one"),)))


def test_a_file_that_was_written_anew_is_another(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"1234")
    before = File.at(path)
    assert File.at(path) == before

    path.write_bytes(b"123456")

    assert Template((), (), (File.at(path),)) != Template((), (), (before,))
    assert Template((), (), (File.at(path),)).revision != Template((), (), (before,)).revision


def test_a_revision_is_of_the_arguments_and_the_files_and_shows_no_secret():
    with_key = Template(("a",), (("LLAMA_API_KEY", "one"),))

    assert with_key.revision == Template(("a",)).revision
    assert with_key.revision != Template(("b",)).revision
