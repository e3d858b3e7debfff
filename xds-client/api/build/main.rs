//! Makes, from the descriptor set under `schema/`, Envoy's Rust types and the tables of the JSON transcoder.
//! No protoc: prost-build takes descriptors as they are.

mod rust_types;
mod schema;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let schema = schema::load()?;
    rust_types::generate(&schema)?;
    Ok(())
}
