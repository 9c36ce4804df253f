"""The demo: a fit of a real neuron, a network, a sweep, and a page that tells them."""
