"""The COBA network of Vogels & Abbott (2005), as the simulators here run it: plain numbers, so that nobody's units or
defaults creep in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Coba:
    """Times in ms, voltages in mV, currents in pA, capacitances in pF, conductances in nS."""

    n_e: int = 3200
    n_i: int = 800
    p: float = 0.02
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
    dt: float = 0.1
    duration: float = 1000.0


COBA = Coba()
