"""The architectures, under the names that the papers give them."""
