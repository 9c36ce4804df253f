"""Writes api.md, the table of public names, from the package: `python docs/api.py`."""

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import brainsim as bs

# Where an object is defined (after "brainsim.") and the heading under which it is listed; in this order.
FAMILIES = {
    "_simulate _events _record _start _spikes running": "Running",
    "_population _projection _bundle _network": "Populations and networks",
    "networks": "Networks of the literature",
    "neurons": "Neurons",
    "synapses._receptors": "Receptors",
    "synapses._wiring synapses._total_number synapses._distributions": "Wiring rules",
    "synapses._connectivity synapses._delays synapses._convolution": "Connectivity",
    "synapses._procedural synapses._procedural_delays": "Procedural connectivity",
    "inputs": "Inputs",
    "_surrogate": "Surrogates",
    "_solver": "Solvers",
    "sweeping _parameters": "Parameters and sweeps",
    "fitting losses": "Fitting",
    "io": "Recordings",
    "observables": "Observables",
    "plotting": "Figures",
    "_dynamics _typing": "Abstract classes and fields",
    "ops": "Operators",
}
NAMESPACES = (
    "fitting",
    "io",
    "losses",
    "networks",
    "neurons",
    "ops",
    "plotting",
)  # public modules whose names are listed, too
ALIASES = {"Param": "The type of a parameter: a scalar, or one value per unit."}


def public() -> dict[str, object]:
    """Every public name, as a user writes it after `bs.`."""
    names = {k: x for k, x in vars(bs).items() if not k.startswith("_") and not isinstance(x, ModuleType)}
    for space in NAMESPACES:
        module = importlib.import_module(f"brainsim.{space}")
        own = {k: x for k, x in vars(module).items() if getattr(x, "__module__", "").startswith(module.__name__)}
        names |= {f"{space}.{k}": x for k, x in own.items() if not k.startswith("_") and getattr(bs, k, None) is not x}
    return names


def family(name: str, thing: object) -> str:
    where = getattr(thing, "__module__", "").removeprefix("brainsim.") if name not in ALIASES else "_typing"
    for places, heading in FAMILIES.items():
        if any(where == p or where.startswith(f"{p}.") for p in places.split()):
            return heading
    raise ValueError(f"bs.{name} is defined in {where}, which has no heading in docs/api.py")


def summary(name: str, thing: object) -> str:
    text = ALIASES.get(name) or inspect.getdoc(thing) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(":,").replace("|", "\\|")


def page() -> str:
    listed: dict[str, list[str]] = {heading: [] for heading in FAMILIES.values()}
    for name, thing in sorted(public().items(), key=lambda item: item[0].lower()):
        listed[family(name, thing)].append(f"| `bs.{name}` | {summary(name, thing)} |")
    lines = [
        "# Public names",
        "",
        "Everything that is public, with the first line of its documentation. `help(bs.LIF)` prints the rest: the",
        "equations, every argument with its unit and default, an example and the source. What is not listed here is",
        "private and may change without notice.",
        "",
        "<!-- Written by docs/api.py. -->",
    ]
    for heading, rows in listed.items():
        if rows:
            lines += ["", f"## {heading}", "", "| name | what it is |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(page(), encoding="utf-8")
