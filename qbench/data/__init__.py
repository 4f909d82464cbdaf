"""Image data sets, verified and cached: `load(name) -> Dataset(train, valid, test)`.

The data sets, where they come from and their digests are in `data/datasets.yml`. Importing this
package imports no torch.
"""

from .cache import catalogue, get, verify
from .errors import DataError
from .loading import Dataset, Split, epoch_order, load

__all__ = [
    "DataError",
    "Dataset",
    "Split",
    "catalogue",
    "epoch_order",
    "get",
    "load",
    "verify",
]
