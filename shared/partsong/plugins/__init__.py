"""Write a plugin: a class with a method for each hook point that it has something to say at."""

from partsong.contracts.talk.hooks import (
    Continue,
    HookOutcome,
    Replace,
    RequireApproval,
    Retry,
    Veto,
)
from partsong.plugins.plugin import Hook, Plugin, PluginKind

__all__ = [
    "Continue",
    "Hook",
    "HookOutcome",
    "Plugin",
    "PluginKind",
    "Replace",
    "RequireApproval",
    "Retry",
    "Veto",
]
