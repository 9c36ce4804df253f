"""A file imports only from the layers above it, so that every part can be read, and used, without those below."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "brainsim"

# From the top down; names on one line are peers, which may not import each other. Inside a package anything goes.
LAYERS = [
    ["_text", "_durable", "_packed"],
    ["_compat", "_module", "_quantity", "_output", "_progress", "_shapes", "_version"],
    ["_domain", "_carried", "_leaves", "plotting"],
    ["_typing"],
    ["_clock"],
    ["_spikes", "_differentiated"],
    ["_parameters", "observables"],
    ["ops"],
    ["_fingerprint"],
    ["_resumable"],
    ["_points"],
    ["_numerics", "inputs"],  # inputs are arrays in, arrays out too, but draw random events with a kernel
    ["_surrogate"],
    ["_dynamics"],
    ["_doors"],
    ["_conform"],
    ["_flow"],
    ["_propagator"],
    ["_solver"],
    ["neurons"],
    ["synapses"],
    ["_population"],
    ["_projection"],
    ["_bundle"],
    ["_network"],
    ["_alike", "_jump"],
    ["_together"],
    ["networks"],
    ["_record"],
    ["_start"],
    ["_simulate", "_event_flow"],
    ["_hybrid"],
    ["_events"],
    ["losses"],
    ["fitting", "sweeping", "running"],
    ["io"],
    ["_parts", "_pages"],
    ["_info"],
    ["_demo"],
    ["_fit_command"],
    ["cli"],
]
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
LEAVES = {"observables"}  # arrays in, arrays out: usable alone


def annotations(tree):
    """The import statements that only type checkers see."""
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    return {inner for block in blocks for inner in ast.walk(block)}


def imports(path):
    """(line, layer) of every import of a part of brainsim in the file at `path`."""
    here = ("brainsim", *path.relative_to(ROOT).with_suffix("").parts)
    tree = ast.parse(path.read_text())
    for node in set(ast.walk(tree)) - annotations(tree):
        if isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            base = (*here[: len(here) - node.level], *module) if node.level else module
            names = [[*base, alias.name] for alias in node.names] if len(base) == 1 else [[*base]]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == "brainsim":
                yield node.lineno, name[1] if len(name) > 1 else "brainsim"


def layer(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_every_file_has_a_layer():
    unknown = {layer(path) for path in ROOT.rglob("*.py")} - set(DEPTH) - {"__init__", "__main__"}
    assert not unknown, f"add to LAYERS: {sorted(unknown)}"


def test_imports_point_up():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        here = layer(path)
        if here not in DEPTH:
            continue
        for line, there in imports(path):
            if there == here:
                continue
            allowed = (
                there in ("_typing", "_clock", "_quantity", "_spikes")
                if here in LEAVES
                else DEPTH.get(there, len(LAYERS)) < DEPTH[here]
            )
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT.parent)}:{line} imports {there}")
    assert not wrong, "\n".join(wrong)


def test_non_public_jax_is_in_one_folder():
    private = ("jax._src", "jax.extend", "jax.interpreters", "jax.core", "jaxlib")
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level and node.module else []
            names += [ast.unparse(node)] if isinstance(node, ast.Attribute) else []
            if path.parent.name != "_compat" and any(n == p or n.startswith(p + ".") for n in names for p in private):
                wrong.append(f"{path.relative_to(ROOT.parent)}:{getattr(node, 'lineno', 0)} uses {names[-1]}")
    assert not wrong, "\n".join(wrong)
