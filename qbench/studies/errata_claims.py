"""Numbers in abstracts, texts and conclusions, as the same publication's tables give them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import tanh

from qbench import reference

from .errata_numbers import Number, agrees

ABOUT = 0.1  # what "roughly" may be off by, as a share


@dataclass(frozen=True)
class Rule:
    """How a claim's number follows from others: `how` is is, about, at least or at most."""

    compute: Callable[[], float]
    how: str = "is"

    def holds(self, printed: Number) -> tuple[float, bool]:
        """What is computed, and whether the claim's number agrees with it."""
        found = float(self.compute())
        if self.how == "at least":
            return found, found >= printed.low
        if self.how == "at most":
            return found, found <= printed.high
        near = self.how == "about" and abs(found / printed.value - 1) <= ABOUT
        return found, near or agrees(printed, found, found)


@cache
def _table(source: str, table: str) -> list[dict]:
    return reference.load(source, table).to_dict("records")


def _get(source: str, table: str, **wanted: object) -> list[float]:
    """Every number of a table whose row has all that is wanted."""
    rows = [row for row in _table(source, table) if all(row[k] == v for k, v in wanted.items())]
    return [float(row["value"]) for row in rows if row["value"] not in ("", None)]


def _one(source: str, table: str, **wanted: object) -> float:
    (found,) = _get(source, table, **wanted)
    return found


def _said(source: str, claim: str) -> float:
    return float(reference.claims(source).set_index("claim").at[claim, "value"])


def _stewart(source: str) -> dict[str, Rule]:
    def said(claim: str) -> Callable[[], float]:
        return lambda: _said(source, claim)

    def latency(student: str, teacher: str) -> Callable[[], float]:
        figure = "figure_10" if source == "stewart2021" else "figure_8"
        return lambda: _one(source, figure, student=student, teacher=teacher)

    def accuracy(bits: int) -> Callable[[], float]:
        figure = "figure_8" if source == "stewart2021" else "figure_6"
        return lambda: _one(source, figure, quantity="accuracy", weight_bits=bits)

    return {
        "networks": Rule(lambda: _said(source, "quantisation_bits_high") ** 2),
        "compared_networks": Rule(lambda: _said(source, "networks") - 1),
        "flexstudent_genes": Rule(said("flexstudent_fully_connected_gene_last")),
        "parallel_speedup": Rule(
            lambda: (
                _said(source, "throughput_after_parallelising")
                / _said(source, "throughput_before_parallelising_summary")
            )
        ),
        "throughput_before_parallelising_summary": Rule(said("throughput_parallelism_2"), "about"),
        "fpga_bram_size": Rule(lambda: _said(source, "fpga_brams") * 16 / 8),
        "fpga_flip_flops": Rule(said("fpga_flip_flops_exact")),
        "vpu_throughput_high": Rule(
            lambda: 1000 / _said(source, "lowest_latency_resnet32x4_flexstudent"), "at most"
        ),
        "quantised_network_layers_future_work": Rule(said("mlp_layers")),
        "two_bit_catches_up_epochs": Rule(said("two_bits_suffice_epochs")),
        "tanh_of_two": Rule(lambda: tanh(2)),
        "fashion_accuracy_2_bits": Rule(accuracy(2)),
        "fashion_accuracy_3_bits": Rule(accuracy(3)),
        "fashion_accuracy_4_bits": Rule(accuracy(4)),
        "best_compromise_accuracy": Rule(accuracy(3)),
        "best_compromise_throughput": Rule(said("throughput_parallelism_16")),
        "lowest_latency_mobilenetv2_flexstudent": Rule(latency("FlexStudent", "MobileNetV2")),
        "lowest_latency_resnet32x4_flexstudent": Rule(latency("FlexStudent", "Resnet32x4")),
        "lowest_latency_resnet32x4_resnet8x4": Rule(latency("Resnet8x4", "Resnet32x4")),
        "sweet_spot_precision_conclusion": Rule(said("sweet_spot_precision")),
    }


def _ducasse() -> dict[str, Rule]:
    source = "ducasse2021"
    widths = lambda: _said(source, "bits_high") - _said(source, "bits_low") + 1  # noqa: E731
    return {
        "float32_addition_energy_ratio": Rule(
            lambda: _said(source, "float32_addition_energy") / _said(source, "int8_addition_energy")
        ),
        "implementations": Rule(lambda: widths() ** 2),
        "implementations_figure_6": Rule(lambda: widths() ** 2),
        "networks_equal_bits": Rule(widths),
        "fpga_flip_flops": Rule(lambda: _said(source, "fpga_slices") * 8),
        "fpga_bram_size": Rule(lambda: 280 * 18 / 8),
        "variations": Rule(lambda: len(_get(source, "table_3", quantity="throughput"))),
        "epochs": Rule(lambda: _one(source, "table_1", quantity="epochs")),
        "batch_size": Rule(lambda: _one(source, "table_1", quantity="batch_size")),
        "learning_rate": Rule(lambda: _one(source, "table_1", quantity="learning_rate")),
    }


def _faraone() -> dict[str, Rule]:
    source = "faraone2021"

    def size(table: str, bits: int, **more: object) -> float:
        return _one(source, table, quantity="size", act_bits=bits, **more)

    def alexnet(variant: str, quantity: str, table: str = "table_4_3") -> float:
        wanted = {"network": "AlexNet", "variant": variant, "quantity": quantity}
        return _one(source, table, **wanted)

    def yolo(variant: str, quantity: str) -> float:
        wanted = {"network": "TinyYolo", "variant": variant, "quantity": quantity}
        return _one(source, "table_4_3", **wanted)

    def less(quantity: str) -> float:
        return 100 * (1 - alexnet("Pruned-40%", quantity) / alexnet("Original", quantity))

    def top(table: str, network: str, method: str, weights: int, acts: int) -> float:
        wanted = {"network": network, "method": method, "metric": "top1"}
        return _one(source, table, **wanted, weight_bits=weights, act_bits=acts)

    def gains() -> list[float]:
        of = lambda *key: top("table_5_3", "AlexNet", *key)  # noqa: E731
        return [
            of("SYQ", 1, 2) - of("HWGQ", 1, 2),
            of("SYQ", 1, 4) - of("DoReFa-Net", 1, 4),
            of("SYQ", 1, 8) - of("BWN", 1, 32),
            top("table_5_4", "ResNet-18", "SYQ", 1, 8)
            - top("table_5_4", "ResNet-18", "BWN", 1, 32),
            top("table_5_5", "ResNet-50", "SYQ", 1, 8)
            - top("table_5_5", "ResNet-50", "HWGQ", 1, 2),
        ]

    def matched(method: str, metric: str) -> Callable[[], float]:
        return lambda: _one(source, "table_6_4", method=method, metric=metric)

    def layer(rccm: str) -> float:
        wanted = {"architecture": "conv_layer", "quantity": "lut", "dsp_mapping": "disabled"}
        return _one(source, "table_6_6", rccm=rccm, **wanted)

    def bram(rccm: str) -> Callable[[], float]:
        wanted = {"architecture": "AlexNet", "quantity": "bram", "dsp_mapping": "disabled"}
        return lambda: _one(source, "table_6_6", rccm=rccm, **wanted)

    def best(quantity: str) -> float:
        rows = _table(source, "table_4_5")
        return max(
            float(r["value"]) for r in rows if r["quantity"] == quantity and r["method"] != "Ours"
        )

    def per_bram() -> float:
        moss = {"method": "Moss17"}
        rate = _one(source, "table_4_5", quantity="throughput", **moss)
        blocks = _one(source, "table_4_5", quantity="bram", **moss) * 20 / 18
        ours = alexnet("Pruned-40%", "throughput", "table_4_4")
        return ours / alexnet("Pruned-40%", "bram", "table_4_4") / (rate / blocks)

    sparse = {"method": "sparse_tnn", "encoding": "RLE"}
    return {
        "syq_top1_gain_high": Rule(lambda: max(gains())),
        "syq_top1_gain_low": Rule(lambda: min(gains()), "at least"),
        "binary_2bit_gain_over_hwgq": Rule(lambda: gains()[0]),
        "size_reduction_high": Rule(
            lambda: size("table_3_2", 1, method="ternary") / size("table_3_2", 1, **sparse)
        ),
        "mlp_binary_act_vs_ternary": Rule(
            lambda: size("table_3_2", 1, method="ternary") / size("table_3_2", 1, **sparse)
        ),
        "mlp_binary_act_vs_binary": Rule(
            lambda: size("table_3_2", 1, method="binary") / size("table_3_2", 1, **sparse),
            "at least",
        ),
        "mlp_float_act_vs_binary": Rule(
            lambda: size("table_3_2", 32, method="binary") / size("table_3_2", 32, **sparse)
        ),
        "size_reduction_low": Rule(
            lambda: min(
                size("table_3_3", bits, method="binary") / size("table_3_3", bits, **sparse)
                for bits in (1, 32)
            ),
            "about",
        ),
        "sparsity_max": Rule(lambda: max(_get(source, "table_3_2", quantity="zeros"))),
        "mlp_binary_act_sparsity": Rule(
            lambda: _one(source, "table_3_2", quantity="zeros", method="sparse_tnn", act_bits=1)
        ),
        "mlp_float_act_sparsity": Rule(
            lambda: _one(source, "table_3_2", quantity="zeros", method="sparse_tnn", act_bits=32)
        ),
        "prunable_at_high_threshold": Rule(
            lambda: _one(source, "table_3_1", quantity="pruned", eta=0.9, sigma=0.9)
        ),
        "conv_share_operations": Rule(
            lambda: sum(_get(source, "table_4_1", quantity="operations_share")[:5])
        ),
        "pruning_speedup": Rule(
            lambda: (
                alexnet("Pruned-40%", "throughput", "table_4_4")
                / alexnet("Original", "throughput", "table_4_4")
            ),
            "about",
        ),
        "alexnet_scaled_throughput": Rule(lambda: alexnet("Pruned-40%", "throughput", "table_4_4")),
        "frequency_gain_max": Rule(lambda: alexnet("Pruned-40%", "frequency")),
        "lut_reduction_40": Rule(lambda: less("lut"), "about"),
        "bram_reduction_40": Rule(lambda: less("bram"), "about"),
        "dsp_reduction_40": Rule(lambda: less("dsp"), "about"),
        "alexnet_30_accuracy_gain": Rule(
            lambda: alexnet("Pruned-30%", "accuracy") - alexnet("Original", "accuracy")
        ),
        "tinyyolo_map_gain": Rule(lambda: yolo("Pruned-50%", "map") - yolo("Original", "map")),
        "tinyyolo_bram_reduction": Rule(
            lambda: 100 * (1 - yolo("Pruned-50%", "bram") / yolo("Original", "bram")), "about"
        ),
        "improvement_fps": Rule(
            lambda: alexnet("Pruned-40%", "throughput", "table_4_4") / best("throughput")
        ),
        "improvement_fps_per_klut": Rule(
            lambda: (
                alexnet("Pruned-40%", "throughput_per_klut", "table_4_4")
                / best("throughput_per_klut")
            )
        ),
        "improvement_fps_per_bram": Rule(per_bram),
        "unoptimised_top1": Rule(matched("unoptimised", "top1")),
        "unoptimised_top5": Rule(matched("unoptimised", "top5")),
        "matched_top1": Rule(matched("distribution_matching", "top1")),
        "matched_top5": Rule(matched("distribution_matching", "top5")),
        "addnet_saving_max": Rule(lambda: 100 * (1 - layer("2-Add") / layer("")), "about"),
        "lut_saving_layer": Rule(lambda: 100 * (1 - layer("2-Add") / layer(""))),
        "alexnet_bram_2add": Rule(bram("2-Add")),
        "alexnet_bram_8bit": Rule(bram("")),
        "conv3_bram_saving": Rule(
            lambda: (
                100
                * (
                    1
                    - _one(source, "table_6_7", layer="Conv3", method="2-Add", quantity="bram")
                    / _one(source, "table_6_7", layer="Conv3", method="8-bit", quantity="bram")
                )
            )
        ),
        "coefficient_bits_2add": Rule(lambda: _bits("2-Add")),
        "coefficient_bits_3add": Rule(lambda: _bits("3-Add")),
        "coefficient_bits_4add": Rule(lambda: _bits("4-Add")),
        "index_bits_2add": Rule(
            lambda: _one(source, "table_6_1", rccm="2-Add", quantity="select_bits")
        ),
        "index_bits_3add": Rule(
            lambda: _one(source, "table_6_1", rccm="3-Add", quantity="select_bits")
        ),
        "index_bits_4add": Rule(
            lambda: _one(source, "table_6_1", rccm="4-Add", quantity="select_bits")
        ),
        "ilsvrc_training_images_ch2": Rule(lambda: _said(source, "imagenet_training_images_ch5")),
    }


def _bits(rccm: str) -> int:
    """Bits in two's complement of the largest coefficient, of either sign."""
    rows = _get("faraone2021", "table_6_2", rccm=rccm, quantity="coefficient_magnitude")
    return int(max(rows)).bit_length() + 1


def _vailakis() -> dict[str, Rule]:
    source = "vailakis2022"
    tables = ("table_7_1", "table_7_2", "table_7_3")

    def of(table: str, platform: str, quantity: str, point: str) -> float:
        wanted = {"platform": platform, "quantity": quantity, "operating_point": point}
        return _one(source, table, **wanted)

    def ratios(
        quantity: str, point: str, over: str = "DPU", others: tuple = ("CPU", "QCPU", "GPU")
    ) -> list[float]:
        return [
            of(table, other, quantity, point) / of(table, over, quantity, point)
            for table in tables
            for other in others
        ]

    def energy() -> float:
        points = ("best_latency", "best_throughput")
        return min(min(ratios("energy_per_image", point)) for point in points)

    def four_bits() -> float:
        base = {"quantity": "accuracy", "split": "test", "weight_bits": 4}
        found = []
        for table in ("table_5_12", "table_5_13"):
            for row in _table(source, table):
                if row["split"] == "test" and row["weight_bits"] == 4:
                    same = {"network": row["network"], "dataset": row["dataset"]}
                    rounded = _one(source, "table_5_10", **base, **same, method="ptq")
                    found.append(float(row["value"]) - rounded)
        return min(found)

    def baseline(table: str, network: str) -> Callable[[], float]:
        wanted = {"network": network, "split": "test", "method": "baseline"}
        return lambda: _one(source, table, **wanted)

    return {
        "dpu_latency_speedup_minimum": Rule(
            lambda: min(ratios("latency", "best_latency")), "at least"
        ),
        "dpu_latency_speedup_densenet_21": Rule(
            lambda: min(ratios("latency", "best_latency")[:3]), "at least"
        ),
        "dpu_power_efficiency_minimum": Rule(energy, "at least"),
        "dpu_energy_order_of_magnitude": Rule(energy, "at least"),
        "qcpu_throughput_speedup": Rule(
            lambda: max(1 / r for r in ratios("throughput", "best_throughput", "QCPU", ("CPU",))),
            "about",
        ),
        "qat_4_bit_gain": Rule(four_bits, "at least"),
        "kl_mlp_teacher_accuracy": Rule(baseline("table_5_4", "KL_MLP_Teacher")),
        "cifar10_teacher_accuracy": Rule(baseline("table_5_5", "DenseNet-63")),
        "cifar100_teacher_accuracy": Rule(baseline("table_5_6", "DenseNet-121")),
        "tpu_dot_products": Rule(lambda: _said(source, "tpu_matrix_side") ** 2),
        "tpu_mac_cores": Rule(lambda: _said(source, "tpu_matrix_side") ** 2),
        "qfdb_memory_total": Rule(
            lambda: 8 * _said(source, "qfdb_mpsocs") * _said(source, "qfdb_ddr4_per_node")
        ),
        "activation_8_bit_maximum": Rule(lambda: 2**8 - 1),
        "weight_8_bit_minimum": Rule(lambda: -(2**7)),
        "weight_8_bit_maximum": Rule(lambda: 2**7 - 1),
        "activation_4_bit_maximum": Rule(lambda: 2**4 - 1),
        "weight_4_bit_minimum": Rule(lambda: -(2**3)),
        "weight_4_bit_maximum": Rule(lambda: 2**3 - 1),
        "kl_mlp_hidden_layers": Rule(
            lambda: len(_get(source, "table_5_1", network="KL_MLP_Student")) - 2
        ),
        "added_densenet_variants": Rule(lambda: _said(source, "densenet_variants_evaluated") - 2),
    }


#: By publication and claim.
CLAIMED: Mapping[str, Mapping[str, Rule]] = {
    "stewart2021": _stewart("stewart2021"),
    "stewart2020": _stewart("stewart2020"),
    "ducasse2021": _ducasse(),
    "faraone2021": _faraone(),
    "vailakis2022": _vailakis(),
}
