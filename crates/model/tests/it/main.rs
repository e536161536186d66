//! Training, packages and prediction on small analytic heads.

mod heads;
mod learning;
mod packages;
mod precision;
mod prediction;
mod resuming;

type TestResult = Result<(), Box<dyn std::error::Error>>;
