//! Where settings come from: defaults, agent.toml, environment, flags; every fault is reported at once.
