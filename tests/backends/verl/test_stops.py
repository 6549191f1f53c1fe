"""Inside verl: its own agent loop asks its server to stop where the template ends a turn."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]

SCRIPT = """
import asyncio, json
from types import SimpleNamespace
import verl
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from oneshot_rlvr.policy.random_model import byte_tokenizer

class Asked(Exception):
    pass

class Server:
    async def generate(self, *, sampling_params, **_):
        raise Asked(json.dumps(sampling_params))

class Loop(SingleTurnAgentLoop):  # verl's own `run`, without its processes
    def __init__(self, template):
        self.tokenizer, self.server_manager = byte_tokenizer(template), Server()
        self.rollout_config = SimpleNamespace(full_determinism=False)
    async def process_multi_modal_info(self, messages):
        return {}
    async def ct_build_initial_tokens(self, messages, **_):
        return [1, 2]
    def _get_mm_processor_kwargs(self, audios):
        return {}
    def build_sglang_video_payload(self, videos, inputs):
        return None

def asked(template, params):
    try:
        asyncio.run(Loop(template).run(params, raw_prompt=[{"role": "user", "content": "q"}]))
    except Asked as told:
        return json.loads(str(told))

turns = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
bare = "{% for m in messages %}{{ m.content }}{% endfor %}"
given = {"temperature": 1.0, "stop_token_ids": [7]}
print(json.dumps([asked(turns, {"temperature": 1.0}), asked(turns, given), asked(bare, given)]))
print(json.dumps(given))
"""


def test_an_answer_ends_where_the_template_ends_a_turn():
    plugin = {"VERL_USE_EXTERNAL_MODULES": "oneshot_rlvr.backends.verl.plugin"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True, text=True, timeout=500,
        env={**os.environ, **plugin, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    asked, given = map(json.loads, done.stdout.splitlines()[-2:])
    assert asked == [
        {"temperature": 1.0, "stop_token_ids": [257]},
        {"temperature": 1.0, "stop_token_ids": [7, 257]},
        {"temperature": 1.0, "stop_token_ids": [7]},
    ]
    assert given == {"temperature": 1.0, "stop_token_ids": [7]}  # the caller's is left as it was
