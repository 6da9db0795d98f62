//! What is told of the network, and which pods move.
