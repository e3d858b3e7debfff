//! Makes, from the descriptor set under `schema/`, Envoy's Rust types and the tables of the JSON transcoder.
//! No protoc: prost-build takes descriptors as they are.

mod proto_source;
mod rules;
mod rust_types;
mod schema;
mod tables;

use prost::Message;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let schema = schema::load()?;
    rust_types::generate(&schema)?;
    tables::generate(&schema, &out)?;
    // The whole set again, supplement included: tests give it to prost-reflect, the transcoder's oracle.
    let set = prost_types::FileDescriptorSet { file: schema.files };
    std::fs::write(out.join("descriptors.binpb"), set.encode_to_vec())?;
    Ok(())
}
