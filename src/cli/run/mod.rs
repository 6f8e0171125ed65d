//! x
mod line;
mod pods;
mod report;
mod state;
mod stuck;
mod text;
