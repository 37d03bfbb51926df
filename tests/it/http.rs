//! The calls of the HTTP door that end.

mod activity;
mod append;
mod history;
mod malformed;
mod openapi;
mod state;
mod walk;
