"""Published experiments as data, and what trains, tests and reports them."""
