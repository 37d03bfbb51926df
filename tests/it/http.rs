//! The calls of the HTTP door that end.

mod activity;
mod append;
mod approvals;
mod history;
mod keys;
mod malformed;
mod metrics;
mod openapi;
mod page;
mod prune;
mod questions;
mod search;
mod shapes;
mod state;
mod strings;
mod transients;
mod walk;
