//! The losses of MR-to-CT synthesis, on candle tensors.
