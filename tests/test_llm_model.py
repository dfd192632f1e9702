"""The model's own process, with the model of the installation: every way in which it may fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import get_args

import pytest

from akazuba.box import open_box
from akazuba.cli import EXAMPLES
from akazuba.consult import PLAINLY, Telling, assess
from akazuba.errors import ModelError
from akazuba.intake.cases import read_cases
from akazuba.llm.model import EMBEDDED_MEMORY_MIB, LocalModel, embedded
from akazuba.llm.remote import RemoteModel
from akazuba.llm.voice import HARMLESS, Task, Voice, open_voice, permitted
from akazuba.settings import Settings

pytest.importorskip("xllamacpp")
FILE = embedded()
if FILE is None:
    pytest.skip("the embedded model is not installed", allow_module_level=True)

HELLO = [{"role": "user", "content": "Say hello."}]
STORY = [{"role": "user", "content": "Tell a very long story."}]
YES_NO = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
SLOW_S = 120.0
"""Longer than any machine takes; nothing here is timed."""


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    opened = LocalModel(FILE, start_s=SLOW_S, answer_s=SLOW_S)
    yield opened
    opened.stop()


def test_it_writes_json_of_the_schema(model: LocalModel) -> None:
    pieces: list[str] = []
    done = model.complete(HELLO, schema=YES_NO, max_tokens=30, on_text=pieces.append)
    assert json.loads(done.text)["answer"] in ("yes", "no")
    assert "".join(pieces) == done.text
    assert 0 < done.first_s <= done.total_s


def test_its_process_stays_under_its_cap_and_listens_on_no_port(model: LocalModel) -> None:
    model.complete(HELLO, schema=None, max_tokens=5)
    assert 50 < model.peak_mib < EMBEDDED_MEMORY_MIB
    assert model._process is not None
    sockets = {
        str(entry.readlink())
        for entry in Path(f"/proc/{model._process.pid}/fd").iterdir()
        if str(entry.readlink()).startswith("socket:")
    }
    listening = Path(f"/proc/{model._process.pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    assert not any(f"socket:[{line.split()[9]}]" in sockets for line in listening)


def test_a_question_longer_than_its_context_is_refused_and_the_next_is_answered(model: LocalModel) -> None:
    with pytest.raises(ModelError, match="exceeds the available context size"):
        model.complete([{"role": "user", "content": "word " * 4000}], schema=None, max_tokens=5)
    assert model.complete(HELLO, schema=None, max_tokens=5).text


def test_a_process_killed_in_mid_sentence_is_an_error_and_the_next_question_starts_it_again(
    model: LocalModel,
) -> None:
    def kill(_: str) -> None:
        assert model._process is not None
        os.kill(model._process.pid, signal.SIGKILL)

    with pytest.raises(ModelError, match="its process ended"):
        model.complete(STORY, schema=None, max_tokens=300, on_text=kill)
    assert model.complete(HELLO, schema=None, max_tokens=5).text


def test_a_second_request_at_once_is_told_that_the_model_is_busy() -> None:
    busy = LocalModel(FILE, wait_s=0.0, start_s=SLOW_S, answer_s=SLOW_S)
    told: list[str] = []

    def meanwhile(_: str) -> None:
        if not told:
            asking = threading.Thread(target=another)
            asking.start()
            asking.join()

    def another() -> None:
        try:
            busy.complete(HELLO, schema=None, max_tokens=5)
        except ModelError as error:
            told.append(str(error))

    busy.complete(HELLO, schema=None, max_tokens=5, on_text=meanwhile)
    busy.stop()
    assert told == [f"{busy.name}: expected a model that is free, found busy with another request"]


def test_a_model_that_hangs_is_ended() -> None:
    slow = LocalModel(FILE, start_s=SLOW_S, answer_s=0.0)
    with pytest.raises(ModelError, match="it was ended: too slow"):
        slow.complete(STORY, schema=None, max_tokens=300)
    assert slow._process is None


def test_a_model_that_was_too_slow_rests_and_the_next_patient_does_not_wait_for_it() -> None:
    slow = LocalModel(FILE, start_s=SLOW_S, answer_s=0.0, rest_s=SLOW_S)
    with pytest.raises(ModelError, match="it was ended: too slow"):
        slow.complete(STORY, schema=None, max_tokens=300)
    with pytest.raises(ModelError, match="too slow a moment ago: it rests"):
        slow.complete(HELLO, schema=None, max_tokens=5)
    assert slow._process is None


def test_a_model_that_wants_too_much_memory_is_refused_it() -> None:
    with pytest.raises(ModelError, match="bad_alloc"):
        LocalModel(FILE, memory_mib=60, start_s=SLOW_S).complete(HELLO, schema=None, max_tokens=5)


def test_an_idle_model_gives_its_memory_back() -> None:
    idle = LocalModel(FILE, idle_s=0.0, start_s=SLOW_S, answer_s=SLOW_S)
    idle.complete(HELLO, schema=None, max_tokens=5)
    deadline = time.monotonic() + SLOW_S
    while idle._process is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert idle._process is None


def test_the_models_process_ends_with_the_boxs(tmp_path: Path) -> None:
    code = (
        "import os\nfrom akazuba.llm.model import LocalModel, embedded\n"
        "m = LocalModel(embedded(), start_s=120, answer_s=120)\n"
        "m.complete([{'role': 'user', 'content': 'hi'}], schema=None, max_tokens=2)\n"
        "print(m._process.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=False)
    pid = int(ended.stdout)
    deadline = time.monotonic() + SLOW_S
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        (b"", "one that begins with b''"),
        (b"hello, I am no model", "one that begins with b'hell'"),
        ("truncated", "data is not within the file bounds"),
        ("other architecture", "unknown model architecture: 'xxama'"),
    ],
)
def test_a_file_that_is_no_model_is_named_with_its_fault(
    tmp_path: Path, content: bytes | str | None, expected: str
) -> None:
    path = tmp_path / "m.gguf"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        whole = bytearray(FILE.read_bytes())
        place = whole.find(b"llama", whole.find(b"general.architecture"))
        whole[place : place + 5] = b"xxama"
        path.write_bytes(FILE.read_bytes()[:50_000_000] if content == "truncated" else whole)
    with pytest.raises(ModelError, match=expected):
        LocalModel(path, start_s=SLOW_S).complete(HELLO, schema=None, max_tokens=5)


def test_the_assessment_is_complete_without_a_model_and_says_why(
    terminology_home: Path, tmp_path: Path
) -> None:
    box = open_box(Settings(home=terminology_home))
    voice = open_voice(str(tmp_path / "none.gguf"), None, 2, tmp_path)
    line = next(iter(read_cases(str(EXAMPLES / "child-mild-cough.json"))))
    told = assess(box, line, None, Telling(PLAINLY.words, voice))
    assert told.narrative
    assert "No such file" in (told.narrative.left_out or "")
    assert told.triage == assess(box, line).triage


def test_the_embedded_model_words_a_case(model: LocalModel, terminology_home: Path) -> None:
    box = open_box(Settings(home=terminology_home))
    line = next(iter(read_cases(str(EXAMPLES / "child-mild-cough.json"))))
    told = assess(box, line, None, Telling(PLAINLY.words, Voice(model)))
    assert told.narrative
    assert (told.narrative.model, told.narrative.left_out) == (model.name, None)
    assert told.narrative.rejected_claims == ()
    assert told.narrative.text.startswith("No sign of urgency was found (green). [E1]")


def test_an_emergency_does_not_wait_for_a_model(model: LocalModel, terminology_home: Path) -> None:
    box = open_box(Settings(home=terminology_home))
    line = next(iter(read_cases(str(EXAMPLES / "adult-cough.json"))))
    told = assess(box, line, None, Telling(PLAINLY.words, Voice(model)))
    assert told.narrative
    assert (told.narrative.model, told.narrative.left_out) == ("rules", "an emergency does not wait for it")


# --- what a model may do, and where it may be ----------------------------------------------------


def test_a_model_that_nobody_evaluated_may_do_no_more_than_what_is_harmless(tmp_path: Path) -> None:
    assert permitted("0" * 64, tmp_path) == frozenset()
    assert {task for task in get_args(Task) if Voice(LocalModel(FILE)).may(task)} == HARMLESS
    gate = {"0" * 64: {"name": "m", "tasks": ["lead"], "measured": "benchmarks/llm.py"}}
    (tmp_path / "llm_gate.json").write_text(json.dumps(gate), encoding="utf-8")
    assert permitted("0" * 64, tmp_path) == {"lead"}


def test_a_gate_that_was_cut_off_lets_no_model_through_and_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "llm_gate.json").write_text('{"0000', encoding="utf-8")
    assert permitted("0" * 64, tmp_path) == frozenset()


def test_what_lies_beside_a_case_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "secrets.py").write_text("raise SystemExit('run')", encoding="utf-8")
    code = (
        "from akazuba.llm.model import LocalModel, embedded\n"
        "m = LocalModel(embedded(), start_s=120, answer_s=120)\n"
        "print(m.complete([{'role': 'user', 'content': 'hi'}], schema=None, max_tokens=2).tokens)\nm.stop()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, cwd=tmp_path, check=False, text=True
    )
    assert done.stdout.strip().isdigit(), done.stderr


def test_a_model_leaves_no_folder_behind() -> None:
    before = {path.name for path in Path(tempfile.gettempdir()).glob("akazuba-llm-*")}
    once = LocalModel(FILE, start_s=SLOW_S, answer_s=SLOW_S)
    once.complete(HELLO, schema=None, max_tokens=2)
    once.stop()
    assert {path.name for path in Path(tempfile.gettempdir()).glob("akazuba-llm-*")} <= before


def test_off_is_off(tmp_path: Path) -> None:
    voice = open_voice("off", None, 2, tmp_path)
    assert (voice.model, voice.why) == (None, "it is switched off")


@pytest.mark.enable_socket  # to look the address up; nothing is sent to it
@pytest.mark.parametrize("address", ["http://8.8.8.8/v1", "https://93.184.216.34:8443"])
def test_no_server_outside_the_local_network_is_asked(address: str) -> None:
    with pytest.raises(ModelError, match="a patient's findings do not leave the post"):
        RemoteModel(address).complete(HELLO, schema=None, max_tokens=5)


def test_an_address_without_a_host_is_refused(tmp_path: Path) -> None:
    for address in ("http://", "http://[::1", "http://h:99999"):
        assert "AKAZUBA_LLM: expected" in (open_voice(address, None, 2, tmp_path).why or "")


@pytest.fixture
def server() -> Iterator[tuple[str, list[object]]]:
    """An OpenAI-compatible server on this machine: it answers with what `answers` holds next."""
    answers: list[object] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(json.loads(body))
            status, text = answers.pop(0)  # type: ignore[misc]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    asked: list[object] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1", answers
        http.shutdown()


@pytest.mark.enable_socket
def test_a_local_server_answers(server: tuple[str, list[object]]) -> None:
    address, answers = server
    reply = {"choices": [{"message": {"content": '{"answer": "yes"}'}}], "usage": {"completion_tokens": 4}}
    answers.append((200, json.dumps(reply)))
    done = RemoteModel(address).complete(HELLO, schema=YES_NO, max_tokens=9)
    assert (done.text, done.tokens) == ('{"answer": "yes"}', 4)


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "reply",
    [
        (500, "out of order"),
        (200, "no json"),
        (200, "[]"),
        (200, "{}"),
        (200, "[" * 50_000),
        (200, '{"choices": [{"message": {"content": 5}}]}'),
        (200, '{"choices": [{"message": {"content": "x"}}], "usage": [1]}'),
    ],
)
def test_a_local_server_that_fails_is_an_error(server: tuple[str, list[object]], reply: object) -> None:
    address, answers = server
    answers.append(reply)
    with pytest.raises(ModelError):
        RemoteModel(address).complete(HELLO, schema=None, max_tokens=9)
