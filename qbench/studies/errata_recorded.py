"""Which entry of `errata.csv` records what a check of `errata` finds to be wrong."""

#: Which erratum records what does not agree: by publication, a pattern of `what`, the first counts.
RECORDED: dict[str, dict[str, str]] = {
    "stewart2021": {
        "*: parallel speedup": "speedup_from_6_1k",
        "*: vpu throughput high": "throughput_range_contradicts_latencies",
        "*: quantised network layers future work": "mlp_layers_three_or_five",
        "*: two bit catches up epochs": "two_bits_catch_up_40_or_50_epochs",
    },
    "stewart2020": {
        "*: vpu throughput high": "throughput_range_contradicts_latencies",
        "*: quantised network layers future work": "mlp_layers_three_or_five",
        "*: two bit catches up epochs": "two_bits_catch_up_40_or_50_epochs",
    },
    "ducasse2021": {
        "Table III: throughput, W3A3, PE 2": "throughput_a3w3_2_2",
        "*: implementations figure 6": "implementations_64_or_49",
    },
    "faraone2021": {
        "Section 1.1: syq top1 gain *": "gain_2_to_8_percent",
        "*: mlp float act vs binary": "mlp_float_compression",
        "*: improvement fps per bram": "fps_per_bram_improvement",
        "*: lut saving layer": "lut_saving_at_2048_elements",
        "*: coefficient bits 3add": "coefficient_bits_3add",
        "Table 3.1: pruned, eta 0.5, sigma 0.5": "pruned_last_row",
        "Table 3.2: size, *": "mlp_dense_sizes",
        "Table 3.3: size, *": "vgg_dense_sizes",
        "Table 4.3: bram utilisation, AlexNet Pruned-30%": "bram_utilisation_pruned_30",
        "Table 4.3: lut utilisation, AlexNet Pruned-40%": "lut_utilisation_pruned_40",
        "Table 4.3: dsp utilisation, AlexNet Pruned-40%": "dsp_utilisation_pruned_40",
        "Table 4.3: bram utilisation, AlexNet Pruned-40%": "bram_utilisation_pruned_40",
        "Table 4.4: throughput per klut, Pruned-30%": "fps_per_klut_pruned_30",
        "Table 4.?: throughput per klut, *": "fps_per_klut_pruned_40",
        "Table 4.?: throughput per bram, *": "fps_per_bram_pruned_40",
    },
    "vailakis2022": {
        "Abstract: dpu latency speedup minimum": "abstract_latency_speedup_minimum",
        "Abstract: dpu power efficiency minimum": "abstract_power_efficiency_minimum",
        "*: dpu energy order of magnitude": "dpu_energy_order_of_magnitude",
        "*: qcpu throughput speedup": "qcpu_throughput_speedup",
        "*: qat 4 bit gain": "qat_4_bit_25_percent",
        "*: qfdb memory total": "qfdb_memory_unit",
        "*: kl mlp hidden layers": "kl_mlp_layer_count",
        "Table 6.4: operations per cycle, B512": "b512_operations_per_cycle",
        "Table 7.?: energy per image, *, *CPU, *": "cpu_tdp",
        "* Table 6.1: DenseNet-21, *": "densenet_21_cifar10_baseline",
        "* Table 6.1: DenseNet-121, *, train, *": "densenet_121_cifar10_train_baseline",
        "Table 5.10 and *: DenseNet-121, *": "densenet_121_cifar10_baseline",
        "* Table 6.2: DenseNet-37, *": "densenet_37_cifar100_baseline",
        "* Table 6.2: DenseNet-201, *": "densenet_201_cifar100_baseline",
        "Table 5.12 and Table 5.16: DenseNet-37, *": "densenet_37_cifar100_ss",
    },
}
