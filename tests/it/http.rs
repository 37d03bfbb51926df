//! The calls of the HTTP door that end.

mod activity;
mod append;
mod approvals;
mod history;
mod keys;
mod malformed;
mod openapi;
mod questions;
mod shapes;
mod state;
mod strings;
mod transients;
mod walk;
