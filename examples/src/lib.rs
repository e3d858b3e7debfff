//! A small control plane for tests and the demo: aggregated discovery, state of the world and delta, secrets included.

pub mod control_plane;
pub mod identities;
pub mod resources;

pub use control_plane::ControlPlane;
pub use identities::Identities;
