//! Bytes that stand in the config, in a file or in an environment variable.

use std::sync::Arc;

use bytes::Bytes;
use xds_api::envoy::config::core::v3 as core;

use super::{at::At, rejection::Rejection};

/// `envoy.config.core.v3.DataSource`, not yet read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DataSource {
    Inline(Bytes),
    File {
        path: Arc<str>,
        /// Watch this directory for moves, and read the file again.
        watched_directory: Option<Arc<str>>,
    },
    /// By the variable's name.
    Environment(Arc<str>),
}

impl DataSource {
    /// Reads the bytes now. Blocks on files.
    ///
    /// # Errors
    /// A sentence that names the file or variable.
    pub fn read(&self) -> Result<Bytes, String> {
        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::File { path, .. } => std::fs::read(&**path)
                .map(Bytes::from)
                .map_err(|e| format!("cannot read {path:?}: {e}")),
            Self::Environment(name) => std::env::var(&**name)
                .map(Bytes::from)
                .map_err(|e| format!("environment variable {name:?}: {e}")),
        }
    }
}

pub(crate) fn parse(source: &core::DataSource, at: &At) -> Result<DataSource, Rejection> {
    use core::data_source::Specifier as S;
    let watched_directory = match source.watched_directory.as_deref() {
        Some(directory) => Some(at.non_empty("watched_directory.path", &directory.path)?.into()),
        None => None,
    };
    Ok(match &source.specifier {
        None => return Err(at.reject("is empty: set filename, inline_bytes, inline_string or environment_variable")),
        Some(S::InlineBytes(bytes)) => DataSource::Inline(Bytes::copy_from_slice(bytes)),
        Some(S::InlineString(text)) => DataSource::Inline(Bytes::copy_from_slice(text.as_bytes())),
        Some(S::Filename(path)) => DataSource::File {
            path: at.non_empty("filename", path)?.into(),
            watched_directory,
        },
        Some(S::EnvironmentVariable(name)) => {
            DataSource::Environment(at.non_empty("environment_variable", name)?.into())
        }
    })
}

/// The field that names the bytes, for what is wrong with them.
pub(crate) fn specified<'a>(source: &core::DataSource, at: &'a At<'a>) -> At<'a> {
    use core::data_source::Specifier as S;
    at.field(match &source.specifier {
        None => "",
        Some(S::Filename(_)) => "filename",
        Some(S::InlineBytes(_)) => "inline_bytes",
        Some(S::InlineString(_)) => "inline_string",
        Some(S::EnvironmentVariable(_)) => "environment_variable",
    })
}

/// For what is part of the resource itself (a direct response's body, a format): read while it is parsed, as Envoy does.
pub(crate) fn read(source: &core::DataSource, at: &At) -> Result<Bytes, Rejection> {
    parse(source, at)?.read().map_err(|e| at.reject(e))
}

/// The same as text.
pub(crate) fn read_text(source: &core::DataSource, at: &At) -> Result<String, Rejection> {
    String::from_utf8(read(source, at)?.to_vec()).map_err(|_| at.reject("is not UTF-8"))
}
