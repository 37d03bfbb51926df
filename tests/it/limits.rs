//! Bounds, and clients that do not behave.

mod download;
mod hosts;
mod requests;
mod slow;
