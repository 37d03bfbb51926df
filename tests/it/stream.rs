//! `GET /api/stream`: frames, positions, resuming, many readers, readers of other makes.

mod foreign;
mod frames;
mod positions;
mod readers;
