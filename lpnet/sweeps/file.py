"""The file of a sweep: a line of JSON for each run that gave a result."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .grid import Call, key


class ResultFile:
    """What is known already of the calls of one function, and where what comes is added.

    Raises ValueError for a file that holds anything else.
    """

    def __init__(self, path: str | os.PathLike[str], function: str) -> None:
        self.path, self.function = Path(path), function
        if self.path.is_dir():
            raise ValueError(f"sweep: out must be a file, {self.path} is a folder")
        data = self.path.read_bytes() if self.path.exists() else b""
        whole, _, torn = data.rpartition(b"\n")  # nothing follows the last line but what a kill or a full disk left
        self.size = len(data) - len(torn)
        self.records = dict(self._record(i, line) for i, line in enumerate(whole.splitlines(), 1))

    def _record(self, number: int, line: bytes) -> tuple[str, dict[str, Any]]:
        try:
            record = json.loads(line)
            found = key({**record["point"], "seed": record["seed"]}), record
            function, _, _ = record["function"], record["result"], record["seconds"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"sweep: line {number} of {self.path} is no result of a sweep ({error!r})") from error
        if function != self.function:
            raise ValueError(f"sweep: {self.path} holds results of {function}, not of {self.function}: choose another")
        return found

    def prepare(self, calls: Collection[Call]) -> None:
        """Make the folder, and cut off a line that was not written whole; ValueError for a call without a name."""
        if vague := [k for call in calls if " at 0x" in (k := key(call))]:
            raise ValueError(f"sweep: out cannot name a value that has no repr of its own, as in {vague[0]}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.truncate(self.size)

    def append(self, call: Call, result: Any, seconds: float) -> None:
        """Add the result of a call."""
        point = {name: value for name, value in call.items() if name != "seed"}
        record = {"function": self.function, "point": point, "seed": call["seed"], "result": result, "seconds": seconds}
        with open(self.path, "ab") as file:
            file.write(json.dumps(record, default=repr).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
