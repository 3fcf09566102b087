//! Configuration of a service: defaults, then a file, then the environment; unknown keys are refused.
