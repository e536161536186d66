//! Convolution engine and networks for MR-to-CT synthesis, on candle.
