//! Files and text to protobuf bytes.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use serde_json::Value;
use xds_api::json::{ReadOptions, Unknown, to_wire};

use super::{KIND, Options};
use crate::config::{self, Rejection};

pub(super) const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// A resource as it came, for config_dump and to tell an update from a repetition.
#[derive(Debug, Clone)]
pub struct Received {
    pub name: Arc<str>,
    pub bytes: Bytes,
    pub hash: u64,
}

impl Received {
    pub fn new(name: Arc<str>, bytes: Bytes) -> Self {
        Self {
            name,
            hash: config::hash(&bytes),
            bytes,
        }
    }
}

/// The bytes of the whole bootstrap, with what was read over on the way.
#[derive(Debug)]
pub struct Source {
    pub bytes: Bytes,
    pub warnings: Vec<String>,
}

impl Source {
    /// # Errors
    /// A file that cannot be read, text that is neither YAML nor JSON, or a value that does not fit its field.
    pub fn read(options: &Options) -> Result<Self, Rejection> {
        let (mut bytes, mut warnings) = (Vec::new(), Vec::new());
        if let Some(path) = options.config_path {
            let text =
                std::fs::read(path).map_err(|e| reject("", format_args!("cannot read {}: {e}", path.display())))?;
            if has_extension(path, "pb") {
                bytes = text;
            } else {
                let value = document(&text, &path.display().to_string())?;
                bytes = wire(&value, options, &mut warnings)?;
            }
        }
        // The concatenation of two messages is their merger: https://protobuf.dev/programming-guides/encoding/#last-one-wins
        if let Some(text) = options.config_yaml.filter(|text| !text.trim().is_empty()) {
            let value = document(text.as_bytes(), "--config-yaml")?;
            bytes.extend(wire(&value, options, &mut warnings)?);
        }
        if options.config_path.is_none() && options.config_yaml.is_none() {
            return Err(reject("", "there is none: give one with -c FILE or --config-yaml TEXT"));
        }
        Ok(Self {
            bytes: bytes.into(),
            warnings,
        })
    }

    pub(super) fn received(self) -> Received {
        Received::new("".into(), self.bytes)
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

fn document(text: &[u8], from: &str) -> Result<Value, Rejection> {
    match read_document(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(reject("", format_args!("{from} holds no object"))),
        Err(e) => Err(reject("", format_args!("{from} is neither YAML nor JSON: {e}"))),
    }
}

/// JSON is YAML, but a JSON reader takes it literally; what launchers write as JSON may have YAML's liberties.
fn read_document(text: &[u8]) -> Result<Value, Box<dyn std::error::Error>> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let mut options = serde_saphyr::Options::default();
    // The bootstrap is the operator's own; ten thousand clusters in it are no attack.
    options.budget = None;
    Ok(serde_saphyr::from_str_with_options(
        std::str::from_utf8(text)?,
        options,
    )?)
}

fn wire(value: &Value, options: &Options, warnings: &mut Vec<String>) -> Result<Vec<u8>, Rejection> {
    let read = ReadOptions {
        fields: if options.allow_unknown_static_fields {
            Unknown::Warn
        } else {
            Unknown::Reject
        },
        // Which unknown extensions may be left out is decided where they stand.
        types: Unknown::Warn,
    };
    let (bytes, read_over) = to_wire(BOOTSTRAP, value, read).map_err(|e| reject(&e.path, &e.problem))?;
    warnings.extend(read_over.iter().map(ToString::to_string));
    Ok(bytes)
}

/// A file's text or bytes as a message of the named type; fields that are not known are read over.
///
/// # Errors
/// What it is not, in a sentence.
pub fn message(type_name: &str, path: &Path, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if has_extension(path, "pb") {
        return Ok(bytes.to_vec());
    }
    let value = document(bytes, "it").map_err(|e| e.problem.into_string())?;
    let read = ReadOptions {
        fields: Unknown::Warn,
        types: Unknown::Warn,
    };
    let (bytes, _) = to_wire(type_name, &value, read).map_err(|e| format!("{}: {}", e.path, e.problem))?;
    Ok(bytes)
}

fn reject(path: &str, problem: impl std::fmt::Display) -> Rejection {
    Rejection {
        kind: KIND,
        name: "".into(),
        path: path.into(),
        problem: problem.to_string().into(),
    }
}
