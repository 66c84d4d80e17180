//! Against real servers of the protocol.
