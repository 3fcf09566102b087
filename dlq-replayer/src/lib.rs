//! Dead letters: an index, replay, topic inspection; HTTP API and command line.
