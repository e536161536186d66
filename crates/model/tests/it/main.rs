//! Training, packages and prediction on small analytic heads.

mod heads;
mod learners;
mod learning;
mod packages;
mod precision;
mod prediction;
mod resuming;
mod views;

type TestResult = Result<(), Box<dyn std::error::Error>>;
