//! What is noted, without a server.
