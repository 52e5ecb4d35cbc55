"""`partsong down`: stop the platform that runs on a data directory."""

from __future__ import annotations

from pathlib import Path

import click

from partsong.cli.options import DURATION_OR_ZERO, data_option
from partsong.cli.output import Output, output_option, run_async

__all__ = ["command"]


@click.command(epilog="Example: partsong down --data /var/lib/partsong")
@data_option("The directory whose platform is to stop.")
@click.option("--now", is_flag=True, help="Do not let services finish what they are at.")
@click.option(
    "--timeout", type=DURATION_OR_ZERO, default="2m", show_default=True, help="Wait no longer.",
)  # fmt: skip
@output_option
def command(data: Path, *, now: bool, timeout: float, out: Output) -> None:
    """Stop the `partsong up` of this directory, wherever it was started, and wait until it is gone.

    Nothing else is stopped, whoever has its process id by now. Exit code 0 also if nothing runs there; 5 if it has not
    stopped in time.
    """
    from partsong.client.local_platform import stop_platform
    from partsong.contracts.errors import Conflict

    data = data.resolve()
    try:
        found = run_async(stop_platform(data, now=now, within=timeout))
    except PermissionError as error:
        said = f"the platform of {data} is another user's: {error}"
        raise Conflict("up.not_yours", said, where=str(data)) from error
    match found.how:
        case "up":
            out.say(f"stopped the platform of {data}, process {found.pid}")
        case "stale":
            gone = f"process {found.pid} has ended without removing it"
            out.say(f"nothing runs on {data}: its up.json was left behind, {gone}; removed it")
        case "none":
            out.say(f"nothing runs on {data}")
    if not out.plain:
        out.record({"data": str(data), "status": _STATUS[found.how], "pid": found.pid or None})


_STATUS = {"up": "stopped", "stale": "stale", "none": "not running"}
