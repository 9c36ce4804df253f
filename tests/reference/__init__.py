"""Reference numbers; see the README beside this file."""

import json
from pathlib import Path


def load(name: str) -> dict:
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())
