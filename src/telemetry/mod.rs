//! Floor 1: what an operator sees: the log and the metrics.

pub mod exposition;
mod figures;
pub mod log;
pub mod metrics;
mod process;
