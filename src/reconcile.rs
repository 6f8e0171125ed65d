//! Keyed work queue.
