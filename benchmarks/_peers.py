"""Virtual environments for simulators whose requirements clash with brainsim's, made on first use and kept.

Brian2 2.9.0, the newest on Python 3.11, calls functions that numpy 2.4 removed, while brainsim's environment has that.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = dict(
    brian2=("brian2==2.9.0", "numpy==2.3.5", "cython==3.1.4", "sympy==1.14.0", "setuptools==80.9.0"),
    brainpy=("brainpy[cpu]==2.8.2",),
    nest=("nest-simulator==3.10.0", "numpy==2.3.5"),
)


def cache() -> Path:
    """Where the environments are kept: `BRAINSIM_BENCH_CACHE`, or `brainsim-bench` in the user's cache folder."""
    given = os.environ.get("BRAINSIM_BENCH_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "brainsim-bench"


def python_of(simulator: str) -> str:
    """The Python that has `simulator`, in an environment that is made if it is not there in just these versions."""
    requirements = REQUIREMENTS[simulator]
    name = f"{simulator}-py{sys.version_info.major}.{sys.version_info.minor}"
    environment = cache() / name
    python, stamp = environment / "bin" / "python", environment / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if not (stamp.is_file() and stamp.read_text() == wanted):
        print(f"making {environment} with {', '.join(requirements)}", file=sys.stderr, flush=True)
        venv.create(environment, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
            check=True,
            stdout=sys.stderr,
        )
        stamp.write_text(wanted)
    return str(python)
