"""The networks that the simulators here run, as plain numbers, so that nobody's units or defaults creep in.

Times in ms, voltages in mV, currents in pA, capacitances in pF, conductances in nS, rates in Hz.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias


@dataclass(frozen=True)
class Balanced:
    """Excitatory and inhibitory integrate-and-fire cells, wired at random: `inputs` synapses per neuron on average."""

    name: str = "coba"
    n_e: int = 3200
    n_i: int = 800
    inputs: float = 80.0
    conductances: bool = True  # or currents
    c: float = 200.0
    g_l: float = 10.0
    e_l: float = -60.0
    v_th: float = -50.0
    v_reset: float = -60.0
    t_ref: float = 5.0
    tau_e: float = 5.0
    tau_i: float = 10.0
    e_e: float = 0.0
    e_i: float = -80.0
    current: float = 200.0
    w_e: float = 6.0
    w_i: float = 67.0
    delay: float = 0.1
    v_low: float = -60.0  # initial voltages are uniform in between
    v_high: float = -50.0
    v_mean: float = -65.0  # normal with this mean if the cells are Hodgkin-Huxley's
    v_sd: float = 5.0
    g_na: float = (
        0.0  # sodium and potassium channels of Traub and Miles: Hodgkin-Huxley cells, at first with closed gates
    )
    g_k: float = 0.0
    e_na: float = 50.0
    e_k: float = -90.0
    v_t: float = -63.0
    dt: float = 0.1

    @property
    def neurons(self) -> int:
        return self.n_e + self.n_i

    @property
    def p(self) -> float:
        """Probability of a connection."""
        return min(1.0, self.inputs / self.neurons)

    def scaled(self, neurons: int) -> "Balanced":
        return replace(self, n_e=neurons * 4 // 5, n_i=neurons - neurons * 4 // 5)


@dataclass(frozen=True)
class Brunel:
    """The network of Brunel (2000) with fixed in-degrees, delta synapses and a Poisson drive of its own per neuron."""

    name: str = "brunel"
    n_e: int = 10_000
    n_i: int = 2_500
    k_e: int = 1_000
    k_i: int = 250
    tau: float = 20.0
    v_th: float = 20.0
    v_reset: float = 0.0
    t_ref: float = 2.0
    j: float = 0.1
    g: float = 5.0
    drive: float = 20_000.0  # twice the rate that brings the mean voltage to the threshold
    delay: float = 1.5
    dt: float = 0.1

    @property
    def neurons(self) -> int:
        return self.n_e + self.n_i

    def scaled(self, neurons: int) -> "Brunel":
        """A tenth of all neurons reaches each; the mean drive stays where it is with j and the number of inputs."""
        n_e = neurons * 4 // 5
        k_e = max(1, n_e // 10)
        return replace(
            self, n_e=n_e, n_i=neurons - n_e, k_e=k_e, k_i=max(1, k_e // 4), j=self.j * self.k_e / k_e,
            drive=self.drive * k_e / self.k_e,
        )  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """Eight populations, E and I in four layers, and all 64 projections between them; it measures compilers."""

    name: str = "layers"
    n: int = 500  # of each population
    p: float = 0.05
    layers: tuple[str, ...] = ("2", "4", "5", "6")
    w_e: float = 20.0
    w_i: float = -100.0
    current: float = 400.0
    delay_e: float = 1.5
    delay_i: float = 0.8
    dt: float = 0.1

    @property
    def neurons(self) -> int:
        return 2 * len(self.layers) * self.n

    def scaled(self, neurons: int) -> "Layers":
        return replace(self, n=neurons // (2 * len(self.layers)))


Model: TypeAlias = Balanced | Brunel | Layers
MODELS: dict[str, Model] = dict(
    coba=Balanced(),
    cuba=Balanced(name="cuba", conductances=False, e_l=-49.0, current=0.0, w_e=16.2, w_i=-90.0),
    coba_hh=Balanced(
        name="coba_hh",
        v_th=-20.0,
        t_ref=0.0,
        current=0.0,
        g_na=20_000.0,
        g_k=6_000.0,
    ),
    brunel=Brunel(),
    layers=Layers(),
)
"""COBA, CUBA and COBA-HH: benchmarks 1 to 3 of Brette et al. (2007), after Vogels & Abbott (2005); Brunel (2000)."""
