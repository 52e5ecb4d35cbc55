"""`run_code`: a model's Python in a sandbox that can pause at a tool call and go on in another process."""

from partsong.tools.builtin.code.limits import Limits
from partsong.tools.builtin.code.outcome import Finished, Outcome, Paused
from partsong.tools.builtin.code.tool import code_tool, run_code

__all__ = ["Finished", "Limits", "Outcome", "Paused", "code_tool", "run_code"]
