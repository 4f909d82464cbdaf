"""What a quantised network costs on an FPGA and how fast it is there: models without torch.

    from qbench import hardware

    tfc = hardware.mlp(weight_bits=3, act_bits=3)            # or layers_of(model or QONNX file)
    folding = hardware.fastest(tfc, "Z7020")                 # or uniform, cheapest, Folding(...)
    print(hardware.fit(folding.cost, "Z7020"), hardware.performance(folding))
    folding.table()

- `mvtu`: FINN-R's estimates of one layer: `estimate`, `convolution`, `sliding_window`, `Cost`; all
  arguments may be arrays. What FINN's default leaves out is explained there;
- `flip_flops`: the linear model that these formulas lack, once it is fitted to synthesis;
- `layers` and `network`: what a layer is (`Layer`, `Window`, `conv_layer`), the layers of a
  perceptron (`mlp`), of a PyTorch model or a QONNX file (`layers_of`);
- `devices`: FPGAs (`device`, `Device`) and what share of one a design takes (`fit`);
- `folding`: `Fold`, `Folding`, `uniform`, and `performance`: frames a second, latency, bandwidth;
- `synthesis`: an MVTU as Verilog, simulated and counted by Yosys: `from qbench.hardware import
  synthesis`;
- `sparse_accelerator`: what zeros are worth where run-length coded weights are decoded on the chip;
- `dpu` and `dpu_speed`: Xilinx's DPUCZDX8G, its resources and how fast a network is on it;
- `rccm`, `rccm_sets`, `rccm_matching`: multipliers made of adders, all of their coefficient sets,
  and the one that is distributed like a network's weights;
- `search`: `fastest` and `cheapest`, exact; `knapsack` is the problem behind them.

Whatever cannot be is a `HardwareError`, one sentence, before any work.
"""

from .devices import Device, Fit, device, fit
from .errors import HardwareError
from .folding import MEASURED_OVERHEAD, Fold, Folding, Performance, performance, uniform
from .layers import Layer, Window, conv_layer, mlp
from .mvtu import Cost, convolution, estimate, sliding_window
from .network import layers_of
from .search import cheapest, fastest

__all__ = [
    "MEASURED_OVERHEAD",
    "Cost",
    "Device",
    "Fit",
    "Fold",
    "Folding",
    "HardwareError",
    "Layer",
    "Performance",
    "Window",
    "cheapest",
    "conv_layer",
    "convolution",
    "device",
    "estimate",
    "fastest",
    "fit",
    "layers_of",
    "mlp",
    "performance",
    "sliding_window",
    "uniform",
]
