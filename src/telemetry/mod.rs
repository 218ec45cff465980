//! Floor 1: what an operator sees: the log, the metrics and the traces.

pub mod exposition;
mod figures;
pub mod gcp;
pub mod log;
pub mod metrics;
mod process;
pub mod traces;
