//! The log as its users meet it: one binary, a module for each door.

#[cfg(feature = "server")]
mod client;
#[cfg(feature = "server")]
mod embed;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sse;
#[cfg(feature = "server")]
mod stream;
