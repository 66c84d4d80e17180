//! Order, repeats and limits, against a server of our own.
