//! A Kinesis stream as an output stream.
