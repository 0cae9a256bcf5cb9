//! A redis-server of its own for each test. Only with the feature `testing`.
