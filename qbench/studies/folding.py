"""Chapter 05: foldings of the perceptron, how fast and how large they are, and the printed ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from qbench import hardware, reference
from qbench.hardware import Folding, HardwareError, Layer, mvtu
from qbench.parameters import FoldingThroughput
from qbench.studies.bit_width_sweep import chance
from qbench.studies.seeds import interval, over_seeds
from qbench.studies.words import PLACES
from qbench.studies.words import layer as layer_word

STEWART, DUCASSE = "stewart2021", "ducasse2021"
RESOURCES = {"lut": "LUT", "ff": "flip-flops", "bram18": "BRAM18", "dsp": "DSP"}
TOLERANCE = 0.001  # relative, of throughputs and bandwidths
WHY = "0.1 %: printed values of one PE and SIMD are up to 0.06 % apart"

MEASURED = "theirs was measured on the FPGA, after conversion; its recipe is not printed"
OTHER = "this run has another clock or overhead than the measurement"


@dataclass(frozen=True)
class Setup:
    """What all designs of a page share: the network's width, the device, and how units are built.

    `clock` in Hz. `share` (of each resource of the device) and `most_simd` limit what is searched,
    not what is folded as asked. The storages and `multipliers` are explained at `mvtu.estimate`.
    """

    hidden: int = 64
    device: str = "Z7020"
    clock: float = hardware.folding.CLOCK
    overhead_cycles: int = hardware.MEASURED_OVERHEAD
    share: float = 0.8
    most_simd: int = 64
    weight_storage: str = "bram"
    threshold_storage: str = "lut"
    multipliers: str = "lut"

    @classmethod
    def of(cls, p: FoldingThroughput) -> Setup:
        """The setup that a chapter's parameters ask for."""
        same = {
            field.name: getattr(p, field.name) for field in fields(cls) if field.name != "clock"
        }
        return cls(clock=1e6 * p.clock_mhz, **same)

    @property
    def as_published(self) -> bool:
        """Whether network and clock are those of the printed measurements."""
        paper = Setup()
        return all(
            getattr(self, name) == getattr(paper, name)
            for name in ("hidden", "clock", "overhead_cycles")
        )

    @property
    def storage(self) -> dict[str, str]:
        names = ("weight_storage", "threshold_storage", "multipliers")
        return {name: getattr(self, name) for name in names}

    @property
    def storage_words(self) -> str:
        """`thresholds in LUTs, weights in block RAM, multipliers in LUTs`."""
        what = {"thresholds": "threshold_storage", "weights": "weight_storage"}
        what["multipliers"] = "multipliers"
        return ", ".join(f"{word} {PLACES[getattr(self, name)]}" for word, name in what.items())

    def layers(self, configuration: str) -> tuple[Layer, ...]:
        """The perceptron 1024-hidden-hidden-hidden-10 with the bits of, say, `W2A3`."""
        weight_bits, act_bits = bits(configuration)
        return hardware.mlp(hidden=(self.hidden,) * 3, weight_bits=weight_bits, act_bits=act_bits)

    def uniform(self, configuration: str, pe: int, simd: int) -> Folding:
        """The same PE and SIMD in every layer, as `hardware.uniform`."""
        return hardware.uniform(self.layers(configuration), pe, simd, **self.storage)

    def fastest(self, configuration: str) -> Folding:
        """`hardware.fastest` within `share` and `most_simd`.

        Raises `HardwareError` naming the configuration where no folding fits.
        """
        limits = {"share": self.share, "most_simd": self.most_simd}
        try:
            return hardware.fastest(
                self.layers(configuration), self.device, **limits, **self.storage
            )
        except HardwareError as error:
            raise HardwareError(
                f"{configuration} with {self.hidden} neurons a hidden layer: {error}"
            ) from None

    def cheapest(self, configuration: str, frame_rate: float, on: str | None = None) -> Folding:
        """`hardware.cheapest`: fewest LUTs for a frame rate, on a device within `share` of it."""
        return self.cheapest_of(self.layers(configuration), frame_rate, on)

    def cheapest_of(
        self,
        layers: Sequence[Layer],
        frame_rate: float,
        on: str | None = None,
        objective: str = "lut",
    ) -> Folding:
        """The same for any layers, with the least of `objective`."""
        return hardware.cheapest(
            layers,
            frame_rate,
            on,
            objective=objective,
            share=self.share if on else 1.0,
            clock=self.clock,
            overhead_cycles=self.overhead_cycles,
            most_simd=self.most_simd,
            **self.storage,
        )

    def measures(self, folding: Folding) -> dict[str, Any]:
        """Speed and cost of a folding as columns of a table.

        `cycles` between frames, `frame_rate` (1/s), `latency` (µs, an upper bound), `bandwidth`
        (MB/s, in), `bottleneck` (a layer); each resource and its share of the device in %
        (`lut_share`), `fits`, and `first`, the resource that is used most.
        """
        speed = hardware.performance(
            folding, clock=self.clock, overhead_cycles=self.overhead_cycles
        )
        use = hardware.fit(folding.cost, self.device)
        return {
            "cycles": speed.initiation_interval,
            "frame_rate": speed.frame_rate,
            "latency": 1e6 * speed.latency,
            "bandwidth": speed.input_bandwidth / 1e6,
            "bottleneck": speed.bottleneck,
            **{name: getattr(folding.cost, name) for name in RESOURCES},
            **{f"{name}_share": 100 * use.shares[name] for name in RESOURCES},
            "fits": use.fits,
            "first": RESOURCES[use.first],
        }


def bits(configuration: str) -> tuple[int, int]:
    """Weight bits and activation bits of `W2A3`."""
    weights, acts = re.fullmatch(r"W(\d+)A(\d+)", configuration).groups()
    return int(weights), int(acts)


def folded(weights: np.ndarray, inputs: np.ndarray, pe: int, simd: int) -> tuple[np.ndarray, int]:
    """`weights @ inputs` as a unit of `pe` rows and `simd` columns works it out.

    (mh, mw) integers and (mw,) give (mh,) sums and the clock cycles it took.
    """
    sums, cycles = np.zeros(len(weights), np.int64), 0
    for row in range(0, len(weights), pe):
        for column in range(0, len(inputs), simd):
            tile = weights[row : row + pe, column : column + simd]
            sums[row : row + pe] += tile @ inputs[column : column + simd]
            cycles += 1
    return sums, cycles


def uniform_designs(
    setup: Setup, configurations: Iterable[str], pe_simd: Iterable[int]
) -> pd.DataFrame:
    """A row a configuration and PE = SIMD: `configuration`, `pe_simd` and `Setup.measures`."""
    return pd.DataFrame(
        {"configuration": configuration, "pe_simd": number}
        | setup.measures(setup.uniform(configuration, number, number))
        for configuration in configurations
        for number in pe_simd
    )


def speed_curve(setup: Setup) -> pd.DataFrame:
    """Frame rate (1/s) against PE·SIMD of the first layer, all layers folded alike.

    Columns `parallel`, `frame_rate` and `overhead` ("12 cycles", and "none, as FINN estimates").
    PE grows up to the hidden width, then SIMD alone.
    """
    rows = []
    kinds = {f"{setup.overhead_cycles} cycles": setup}
    kinds["none, as FINN estimates"] = replace(setup, overhead_cycles=0)
    for power in range(17):
        pe = min(2 ** (power // 2), setup.hidden)
        folding = setup.uniform("W2A2", pe, 2**power // pe)  # bits do not enter the speed
        parallel = folding.folds[0].pe * folding.folds[0].simd
        for overhead, kind in kinds.items():
            rows.append((parallel, kind.measures(folding)["frame_rate"], overhead))
    columns = ["parallel", "frame_rate", "overhead"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(ignore_index=True)


def storage_choices(setup: Setup, configurations: Iterable[str], pe_simd: int) -> pd.DataFrame:
    """What each choice of storage says of PE = SIMD = `pe_simd`: LUT and BRAM18 shares, `fits`."""
    rows = []
    for thresholds in mvtu.THRESHOLD_STORAGE:
        for weights in mvtu.STORAGE:
            for name in configurations:
                folding = hardware.uniform(
                    setup.layers(name),
                    pe_simd,
                    pe_simd,
                    weight_storage=weights,
                    threshold_storage=thresholds,
                    multipliers=setup.multipliers,
                )
                use = hardware.fit(folding.cost, setup.device)
                shares = {f"{key}_share": 100 * use.shares[key] for key in ("lut", "bram18")}
                choice = {"thresholds": thresholds, "weights": weights, "configuration": name}
                rows.append(choice | shares | {"fits": use.fits})
    return pd.DataFrame(rows)


def lut_parts(setup: Setup, configuration: str, pe_simd: int) -> pd.DataFrame:
    """Where the LUTs of a uniform folding go: a row a layer, columns in LUTs.

    `products` are what multipliers in DSPs would save, `thresholds` (and their comparators) what
    thresholds in LUTs add, `other` is the rest: adder trees, accumulators, control.
    """
    folding = setup.uniform(configuration, pe_simd, pe_simd)
    rows = []
    for layer, fold in zip(folding.layers, folding.folds, strict=True):

        def luts(layer: Layer = layer, fold: Any = fold, **choice: str) -> int:
            return layer.cost(fold.pe, fold.simd, weight_storage="bram", **choice).lut

        other = luts(multipliers="dsp", threshold_storage="none")
        plain = luts(multipliers="lut", threshold_storage="none")
        whole = luts(multipliers="lut", threshold_storage="lut")
        size = f"{layer.mw}×{layer.mh}"
        rows.append(
            (layer_word(layer.name), size, fold.pe, fold.simd, plain - other, whole - plain, other)
        )
    columns = ["layer", "size", "PE", "SIMD", "products", "thresholds", "other"]
    return pd.DataFrame(rows, columns=columns)


def accuracies(
    dataset: str,
    configurations: Iterable[str],
    seeds: Iterable[int],
    *,
    epochs: int,
    hidden: int,
    train: bool = False,
) -> pd.DataFrame:
    """Test accuracy (%) after each epoch evaluated: configuration, seed, epoch, accuracy.

    The trainings are those of chapter 02, read from the store. What is not there is trained with
    `train`, all together, and left out without.
    """
    from qbench import store, sweep

    same = {"epochs": epochs, "hidden": hidden, "batch_size": 100}

    def stored(member: sweep.Member) -> bool:
        spec = store.spec(sweep.quant_mlp, dataset=dataset, **asdict(member), **same)
        return store.find(spec) is not None

    members = {sweep.Member(*bits(name), seed): name for name in configurations for seed in seeds}
    wanted = [member for member in members if train or stored(member)]
    tables = sweep.quant_mlps(dataset, wanted, **same) if wanted else {}
    columns = ["configuration", "seed", "epoch", "accuracy"]
    found = [
        table.assign(
            configuration=members[member], seed=member.seed, accuracy=100 - table["test_error"]
        )[columns]
        for member, table in tables.items()
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def published_speeds(setup: Setup) -> pd.DataFrame:
    """Tables II and III of Ducasse et al. 2021 with ours beside them, a row a printed number.

    Ours are of their network, whatever `setup.hidden` is, at the clock and overhead of `setup`.
    Columns `where`, `configuration`, `pe`, `simd`, `quantity`, `unit`, `published`, `ours`,
    `off` (%), `extra` (clock cycles between frames beyond those of the slowest layer that the
    printed throughput implies), `verdict`, `why`. Bandwidth is in MB/s, as the errata have it.
    """
    setup = replace(setup, hidden=Setup.hidden)
    rows = []
    for table in ("table_2", "table_3"):
        for row in reference.load(DUCASSE, table).dropna(subset="value").to_dict("records"):
            configuration = f"W{row['weight_bits']}A{row['act_bits']}"
            folding = setup.uniform(configuration, row["pe"], row["simd"])
            found = setup.measures(folding)
            speed = row["quantity"] == "throughput"
            ours, printed = found["frame_rate" if speed else "bandwidth"], row["value"]
            near = TOLERANCE * printed
            said = reference.verdict(printed, ours, tolerance=near, why=WHY, of=row)
            beyond = setup.clock / printed - folding.cost.cycles if speed else float("nan")
            why = WHY if said == "matches" else "" if setup.as_published else OTHER
            rows.append(
                {key: row[key] for key in ("where", "pe", "simd", "quantity")}
                | {"configuration": configuration, "unit": "1/s" if speed else "MB/s"}
                | {"published": printed, "ours": ours, "off": 100 * (ours / printed - 1)}
                | {"extra": beyond, "verdict": said, "why": why}
            )
    return pd.DataFrame(rows)


def figure_8(dataset: str) -> pd.DataFrame:
    """The points of Stewart et al. 2021, Fig. 8, that the text has numbers for.

    Columns `configuration`, `pe_simd`, `accuracy` (%), `frame_rate` (1/s); empty for another data
    set than Fashion-MNIST.
    """
    rows = reference.load(STEWART, "figure_8").dropna(subset="value")
    rows["configuration"] = (
        "W" + rows["weight_bits"].astype(str) + "A" + rows["act_bits"].astype(str)
    )
    accuracy = rows[rows["quantity"] == "accuracy"].set_index("configuration")["value"]
    points = rows[rows["quantity"] == "throughput"].rename(columns={"value": "frame_rate"})
    points = points.assign(
        accuracy=points["configuration"].map(accuracy), pe_simd=points["pe"].astype(int)
    )
    points = points[["configuration", "pe_simd", "accuracy", "frame_rate"]]
    return points.reset_index(drop=True) if dataset == "fashion-mnist" else points.iloc[:0]


def figure_8_ours(designs: pd.DataFrame, runs: pd.DataFrame, epochs: Iterable[int]) -> pd.DataFrame:
    """Accuracy against frame rate of the designs that fit, a row a design and epoch.

    `designs` from `uniform_designs`, `runs` from `accuracies`. Columns `configuration`, `pe_simd`,
    `frame_rate` (1/s, whole), `epoch`, `after` (the epoch in words), and `accuracy`, `low`, `high`:
    mean, least and greatest over seeds (%).
    """
    there = runs[runs["epoch"].isin(list(epochs))]
    accuracy = over_seeds(there, ["configuration", "epoch"], "accuracy")
    speeds = designs.loc[designs["fits"], ["configuration", "pe_simd", "frame_rate"]]
    points = speeds.merge(accuracy, on="configuration").sort_values("epoch", kind="stable")
    return points.assign(
        frame_rate=points["frame_rate"].round().astype(int), after=after(points["epoch"])
    )


def after(epochs: pd.Series) -> pd.Series:
    return "after " + epochs.astype(str) + " epochs"


def published_accuracies(runs: pd.DataFrame, epochs: Iterable[int], dataset: str) -> pd.DataFrame:
    """The accuracies of Stewart et al. 2021, Fig. 8, and ours after each of `epochs`.

    `runs` from `accuracies`; a row a configuration and epoch, with the tolerance of chapter 02.
    Empty where `runs` have none of them.
    """
    printed = figure_8(dataset).drop_duplicates("configuration")
    rows = []
    for epoch in epochs:
        for name, value in zip(printed["configuration"], printed["accuracy"], strict=True):
            mine = runs[(runs["configuration"] == name) & (runs["epoch"] == epoch)]["accuracy"]
            if mine.empty:
                continue
            centre, half = interval(mine)
            near = chance(value)
            said = reference.verdict(value, centre, tolerance=near, why="chance")
            reason = MEASURED if epoch == 40 else f"ours after {epoch} epochs, theirs after 40"
            rows.append(
                {"configuration": name, "epochs": epoch, "published": value}
                | {"ours": f"{centre:.2f}" + ("" if half != half else f"\u00a0±\u00a0{half:.2f}")}
                | {"tolerance": near, "verdict": said}
                | {"why": reason if said == "differs" else "within chance"}
            )
    return pd.DataFrame(rows)
