"""The demo's page, figures and report, built from made-up results: whole, self-contained, strict, honest."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from brainsim import _pages, plotting
from brainsim._demo import _figures, _page
from brainsim._demo._page import _verdict, write_page
from brainsim._demo._report import report, write_report
from brainsim._demo._results import (
    CobaResult,
    DemoResult,
    LocustFit,
    LocustResult,
    Parameter,
    Prediction,
    Score,
    SweepResult,
    Transfer,
)


def _prediction(bits: float, seed: int) -> Prediction:
    rng = np.random.default_rng(seed)
    return Prediction(Score(bits, bits - 0.1, bits + 0.1), rng.exponential(90.0, 1000), rng.random(60))


def _fit(name: str, cutoff: float, model: float, glm: float) -> LocustFit:
    rng = np.random.default_rng(int(cutoff))
    loss = -model + np.exp(-np.arange(20) / rng.uniform(3, 9, (4, 1)))
    loss[1, 7:] = np.nan  # a start that died
    return LocustFit(
        name=name,
        cutoff_hz=cutoff,
        dt=0.5,
        stimulus=rng.normal(0, 6, 2000),
        spikes=np.sort(rng.choice(999, 90, replace=False)) + 0.5,
        split=700.0,
        model=_prediction(model, 1),
        glm=_prediction(glm, 2),
        lead=Score(model - glm, model - glm - 0.05, model - glm + 0.05),
        bits_own_step=Score(model + 0.3, model + 0.2, model + 0.4),
        step=0.25,
        loss=loss,
        parameters=(
            Parameter("tau_m", "ms", "membrane time constant", 0.5, 0.4, 0.7, 0.1, 10.0),
            Parameter("w", "", "strength <of> adaptation", 0.3, 0.2, 0.4, 0.0, 1.0),
        ),
        seconds=3.2,
    )


@pytest.fixture(scope="module")
def result() -> DemoResult:
    rng = np.random.default_rng(0)
    fits = (_fit("recording_1", 200.0, 2.2, 2.4), _fit("recording_2", 800.0, 1.5, 1.5))
    last = Transfer("recording_1", "recording_2", _prediction(1.0, 3), _prediction(0.5, 4), Score(0.5, 0.4, 0.6))
    ids = rng.integers(0, 50, 400)
    bins = np.arange(20) * 5.0 + 2.5
    coba = CobaResult(
        n_e=40,
        n_i=10,
        synapses=123,
        duration=100.0,
        dt=0.1,
        spike_times=np.sort(rng.uniform(0, 100, 400)),
        spike_ids=ids,
        rate_times=bins,
        rate_e=rng.uniform(0, 40, 20),
        rate_i=rng.uniform(0, 40, 20),
        rate_e_hz=21.0,
        rate_i_hz=22.0,
        cv_isi=float("nan"),
        seconds_build=0.01,
        seconds_compile=2.0,
        seconds_run=0.05,
    )
    weights = np.linspace(1, 12, 3), np.linspace(10, 100, 4)
    sweep = SweepResult(*weights, rng.uniform(0, 50, (3, 4)), 50, 100.0, 20.0, 0.1, 1.5)
    versions = dict(brainsim="0.1.0", python="3.12.0")
    return DemoResult(LocustResult(fits, last, 24, 9.0), coba, sweep, versions, dict(kernels="ffi"), "2 <cores>", 60.0)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    write_page(result, out)
    write_report(result, out / "report.json")
    return out


class _Page(HTMLParser):
    """Everything a browser would load, and whether all elements are closed."""

    VOID = ("meta", "img", "source", "br", "hr", "link")

    def __init__(self, text: str):
        super().__init__()
        self.loads, self.images, self.ids, self.targets, self.open, self.tags = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.loads += [given[k] for k in ("src", "srcset", "data", "poster", "action") if k in given]
        if tag == "link":
            self.loads.append(given.get("href"))
        if tag == "a":
            self.targets.append(given["href"])
        if tag == "img":
            self.images.append(given)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_self_contained(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert page.open == [] and len(page.ids) == len(set(page.ids))
    assert page.loads and all(url.startswith("data:image/png;base64,") for url in page.loads)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    assert "default-src 'none'" in text
    for url in page.targets:  # links may lead out, but only to papers, and inside to what is there
        assert url.startswith("https://doi.org/10.") or url[1:] in page.ids, url
    assert "$" not in re.sub(r"<(style|pre)>.*?</\1>", "", text, flags=re.S)


def test_every_figure_is_on_the_page_and_beside_it(folder, result):
    page = _Page((folder / "index.html").read_text(encoding="utf-8"))
    names = set(_figures.figures(result))
    assert names >= {
        "locust_scores",
        "locust_recording_1",
        "locust_recording_2",
        "locust_loss",
        "locust_time_rescaling",
        "locust_parameters",
        "coba_raster",
        "sweep_map",
    }
    assert names <= set(page.ids) and len(page.images) == len(names)
    assert {p.stem for p in folder.glob("*.png")} == names
    inlined = {base64.b64decode(image["src"].split(",")[1]) for image in page.images}
    assert inlined == {p.read_bytes() for p in folder.glob("*.png")}
    assert all(image["alt"] for image in page.images)
    assert all(data.startswith(b"\x89PNG") for data in inlined)


def test_page_says_the_numbers_and_escapes_the_text(folder, result):
    text = (folder / "index.html").read_text(encoding="utf-8")
    for said in ("2.20 <small>(2.10 to 2.30)", "bits per spike", "0.50 <small>(0.40 to 0.60)", "2 &lt;cores&gt;"):
        assert said in text, said
    assert "strength &lt;of&gt; adaptation" in text and "<of>" not in text
    assert "<strong>On recording 1, the GLM is ahead</strong> by 0.20" in text
    assert "<strong>On recording 2, they cannot be told apart</strong>" in text
    assert "<strong>In transfer, the model is ahead</strong> by 0.50" in text
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower()


@pytest.mark.parametrize(
    "lead, said", [((0.2, 0.1, 0.3), "model is ahead"), ((-0.2, -0.3, -0.1), "GLM is ahead"), ((0, -1, 1), "cannot be")]
)
def test_who_leads_is_what_the_interval_says(lead, said):
    assert said in _verdict("Here", Score(*lead))


def test_report_is_strict_json_with_the_promised_keys(folder, result):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    assert found == json.loads(json.dumps(report(result)))
    for part in ("recording_1", "recording_2", "transfer"):
        bits = found["locust"][part]["bits_per_spike"]
        assert isinstance(bits["model"], float) and isinstance(bits["glm"], float)
        assert bits["model_interval"][0] < bits["model"] < bits["model_interval"][1]
    assert found["locust"]["recording_1"]["parameters"]["tau_m"]["unit"] == "ms"
    assert {"rate_e_hz", "rate_i_hz", "cv_isi", "seconds_per_second"} <= set(found["coba"])
    assert found["coba"]["cv_isi"] is None and found["coba"]["seconds_per_second"] == pytest.approx(2.0)
    assert found["sweep"]["shape"] == [3, 4] and found["sweep"]["seconds"] == 1.5
    assert found["versions"]["brainsim"] == "0.1.0" and found["backend"] == {"kernels": "ffi"}


def test_time_rescaling_distance_is_that_of_kolmogorov_and_smirnov(result):
    stats = pytest.importorskip("scipy.stats")
    fit = result.locust.recordings[0]
    found = report(result)["locust"]["recording_1"]["time_rescaling"]
    assert found["model_ks"] == pytest.approx(stats.kstest(fit.model.rescaled, "uniform").statistic)
    assert found["glm_ks"] == pytest.approx(stats.kstest(fit.glm.rescaled, "uniform").statistic)


def test_a_template_without_its_value_is_an_error():
    with pytest.raises(KeyError, match="header"):
        _pages.fill("_pages/frame.html", title="", style="", body="", footer="")


@pytest.mark.parametrize(
    "x, said",
    [(0.0424, "42 ms"), (0.41, "0.41 s"), (1.0, "1 s"), (9.94, "9.9 s"), (84.3, "84 s"), (125.0, "2 min 5 s")],
)
def test_durations(x, said):
    assert _pages.seconds(x).replace("\u00a0", " ") == said


@pytest.mark.parametrize("x, said", [(2.614, "2.61"), (6543.2, "6,543"), (-0.5, "\u22120.5"), (float("nan"), "\u2013")])
def test_numbers(x, said):
    assert _pages.number(x) == said


def test_theme_is_a_context_that_leaves_nothing_behind():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with plotting.theme(plotting.DARK) as colours:
        assert matplotlib.rcParams["figure.facecolor"] == colours.paper
        Figure().subplots()
    assert dict(matplotlib.rcParams) == before


def test_losses_mark_the_best_start_that_lived():
    ax = Figure().subplots()
    history = np.array([[3.0, 2.0], [3.0, 1.0], [3.0, np.nan]])
    plotting.losses(ax, history)
    drawn = [line for line in ax.lines if line.get_color() == plotting.LIGHT.first]
    assert len(drawn) == 1 and np.asarray(drawn[0].get_ydata()).tolist() == [3.0, 1.0]


def test_parameter_ranges_place_values_between_their_bounds():
    ax = Figure().subplots()
    bounds = np.array([[0.0, 10.0], [1.0, 100.0]])
    plotting.parameter_ranges(ax, ["a", "b"], [("x", [(5.0, 4.0, 6.0), (10.0, 5.0, 200.0)], "k", "o")], bounds)
    assert np.asarray(ax.lines[0].get_xdata()).tolist() == [0.5, 0.5]  # linear, and logarithmic over two decades


def test_heat_map_puts_the_first_axis_across():
    ax = Figure().subplots()
    z = np.arange(6.0).reshape(3, 2)
    image = plotting.heat_map(ax, np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0]), z, label="Hz")
    assert list(image.get_extent()) == [0.5, 3.5, 5.0, 25.0]
    assert np.asarray(image.get_array()).tolist() == z.T.tolist()


def test_calibration_counts_the_spikes_that_came_and_that_were_foretold(result):
    text = _page._calibration(result.locust)
    fit = result.locust.recordings[0]
    came, foretold = np.sum(fit.spikes > fit.split), fit.model.rate[700:].sum() * 1e-3
    assert f'<td>Recording\u00a01</td><td class="num">{came}</td><td class="num">{foretold:.0f}</td>' in text
