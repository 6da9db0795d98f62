//! The end-to-end harness: real processes, real Docker, real clients. Everything that a test starts
//! carries a prefix of its own and is gone when the test ends, however it ends.

pub mod api;
pub mod backend;
pub mod cluster;
pub mod disk;
pub mod docker;
pub mod dockerd;
pub mod given;
pub mod hosts;
pub mod kubectl;
pub mod netns;
pub mod process;
pub mod skiff;
pub mod slowdisk;
pub mod steady;
pub mod upstream;
pub mod wait;
pub mod world;
pub mod writers;
