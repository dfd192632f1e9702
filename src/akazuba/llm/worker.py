"""The language model's own process: one JSON request a line on stdin, answers as lines of JSON on stdout.

    {"messages": […], "schema": {…} or null, "max_tokens": 200}   {"text": piece}…, then {"done": {…}}
    {"prompt": "…", "options": ["A", "B"]}                        {"done": {"logprobs": {"A": -0.3, …}}}

A request that fails is answered with {"error": "…"}. It ends when stdin does, so that it never outlives the
box's process, and it is the first that the kernel ends when memory is short. No network: the server inside
llama.cpp is bound to a socket in a folder that only this user can open, behind a key that nobody knows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KNOWN_OPTIONS = 64
"""Tokens of which llama.cpp tells the probability; an option that is not among them gets none."""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--mmproj", default="")
    arguments.add_argument("--context", type=int, default=2048)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--memory-mib", type=int, default=300)
    given = arguments.parse_args()
    _bound(given.memory_mib)
    # llama.cpp writes to stdout where it likes; the answers go to a copy that nobody else knows.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    try:
        server = _opened(given)
    except Exception as problem:
        _say(answers, {"error": str(problem)})
        return
    _say(answers, {"ready": True})
    for line in sys.stdin:
        try:
            _answer(server, json.loads(line), answers)
        except Exception as problem:
            _say(answers, {"error": f"{type(problem).__name__}: {problem}"})


def _bound(memory_mib: int) -> None:
    """No more memory of its own than this, no core file, first to go, and behind the box's own work."""
    limit = memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return  # no Linux: the limit above has to do


def _opened(given: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = given.model
    if given.mmproj:
        params.mmproj.path = given.mmproj
    params.n_ctx = given.context
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = 256
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.cache_ram_mib = 0
    params.fit_params = params.warmup = params.endpoint_slots = params.ui = False
    params.n_threads_http = 1
    params.verbosity = 1
    params.hostnames = [str(given.folder / "socket.sock")]
    params.api_keys = [secrets.token_hex(32)]
    return xllamacpp.Server(params)


def _answer(server: Any, request: Mapping[str, Any], answers: Any) -> None:
    if "options" in request:
        _say(answers, {"done": {"logprobs": _logprobs(server, request["prompt"], request["options"])}})
        return
    failed: list[str] = []
    usage: dict[str, Any] = {}

    def piece(chunk: Any) -> None:
        if "error" in chunk:
            failed.append(str(chunk["error"].get("message", chunk["error"])))
            return
        for choice in chunk.get("choices", ()):
            if text := choice["delta"].get("content"):
                _say(answers, {"text": text})
        usage.update(chunk.get("timings") or {})

    asked = {
        "messages": request["messages"],
        "max_tokens": request["max_tokens"],
        "temperature": 0,
        "cache_prompt": True,
        "stream": True,
    }
    if request.get("schema"):
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": request["schema"]}}
    server.handle_chat_completions(asked, piece)
    counts = {"tokens": usage.get("predicted_n", 0), "prompt_tokens": usage.get("prompt_n", 0)}
    _say(answers, {"error": failed[0]} if failed else {"done": counts})


def _logprobs(server: Any, prompt: str, options: list[str]) -> dict[str, float]:
    """Of each option as the next word, of those that the model thinks of at all."""
    asked = {
        "prompt": prompt,
        "n_predict": 1,
        "n_probs": KNOWN_OPTIONS,
        "temperature": 0,
        "cache_prompt": True,
    }
    reply = server.handle_completions(asked)
    if "error" in reply:
        raise ValueError(str(reply["error"].get("message", reply["error"])))
    found: dict[str, float] = {}
    for token in reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
        word = token["token"].strip()
        if word in options:
            found[word] = max(token["logprob"], found.get(word, float("-inf")))
    return found


def _say(answers: Any, message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
