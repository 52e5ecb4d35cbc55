"""What a service has imported is looked at by no collection any more; what its work leaves behind still is."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import gc, json, sys, weakref
from partsong.runtime.garbage import leave_out_modules

class Knot:
    def __init__(self):
        self.me = self

before = Knot()
leave_out_modules()
said = {"at_once": gc.get_freeze_count() > 1000, "looked_at": any(o is before for o in gc.get_objects())}

gc.collect()
count = gc.get_freeze_count()
knot = weakref.ref(Knot())
gc.collect()
said["freed"] = knot() is None and gc.get_freeze_count() == count

assert "xml.dom.minidom" not in sys.modules
import xml.dom.minidom
gc.collect()
said["imported_later"] = gc.get_freeze_count() - count
said["module_looked_at"] = any(o is xml.dom.minidom.Document for o in gc.get_objects())
print(json.dumps(said))
"""


def test_modules_are_left_out_and_cycles_are_freed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("imported_later") > 100
    assert said == {"at_once": True, "looked_at": False, "freed": True, "module_looked_at": False}
