//! Headers that a route, virtual host or reply adds and removes.

use http::HeaderName;
use xds_api::envoy::config::core::v3 as core;

use super::{at::At, rejection::Rejection};
use crate::{
    format::Format,
    route::header_edit::{AppendAction, EditedHeader, HeaderAddition, HeaderEdit, HeaderEdits},
};

/// The four fields that every level of a route configuration has.
pub(crate) struct Fields<'a> {
    pub(crate) request_add: &'a [core::HeaderValueOption],
    pub(crate) request_remove: &'a [String],
    pub(crate) response_add: &'a [core::HeaderValueOption],
    pub(crate) response_remove: &'a [String],
}

/// Reads [`Fields`] off any message that has them.
macro_rules! header_fields {
    ($message:expr) => {
        $crate::config::header_edit::Fields {
            request_add: &$message.request_headers_to_add,
            request_remove: &$message.request_headers_to_remove,
            response_add: &$message.response_headers_to_add,
            response_remove: &$message.response_headers_to_remove,
        }
    };
}
pub(crate) use header_fields;

pub(crate) fn parse(fields: &Fields, at: &At) -> Result<HeaderEdits, Rejection> {
    Ok(HeaderEdits {
        request: HeaderEdit {
            add: additions(fields.request_add, "request_headers_to_add", at)?,
            remove: removals(fields.request_remove, "request_headers_to_remove", at)?,
        },
        response: HeaderEdit {
            add: additions(fields.response_add, "response_headers_to_add", at)?,
            remove: removals(fields.response_remove, "response_headers_to_remove", at)?,
        },
    })
}

/// Envoy's limit of additions per level.
const MAX_ADDITIONS: usize = 1000;

pub(crate) fn additions(
    options: &[core::HeaderValueOption],
    field: &'static str,
    at: &At,
) -> Result<Vec<HeaderAddition>, Rejection> {
    if options.len() > MAX_ADDITIONS {
        return Err(at.field(field).reject(format_args!(
            "{} headers are more than the {MAX_ADDITIONS} allowed",
            options.len()
        )));
    }
    let parsed = options
        .iter()
        .enumerate()
        .map(|(i, option)| addition(option, &at.item(field, i)));
    parsed.collect()
}

fn addition(option: &core::HeaderValueOption, at: &At) -> Result<HeaderAddition, Rejection> {
    use core::header_value_option::HeaderAppendAction as A;
    let header = at.required("header", option.header.as_deref())?;
    let action = at.enumeration("append_action", option.append_action)?;
    let append = match (option.append, action) {
        (Some(true), A::AppendIfExistsOrAdd) | (None, A::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        (Some(false), A::AppendIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        (Some(_), _) => {
            return Err(at
                .field("append")
                .reject("is set beside append_action, which replaced it; keep one"));
        }
        (None, A::AddIfAbsent) => AppendAction::AddIfAbsent,
        (None, A::OverwriteIfExistsOrAdd) => AppendAction::OverwriteIfExistsOrAdd,
        (None, A::OverwriteIfExists) => AppendAction::OverwriteIfExists,
    };
    let at = at.field("header");
    let text = if header.value.is_empty() && !header.raw_value.is_empty() {
        std::str::from_utf8(&header.raw_value).map_err(|_| at.field("raw_value").reject("is not UTF-8"))?
    } else {
        at.header_text("value", &header.value)?
    };
    Ok(HeaderAddition {
        name: EditedHeader::Name(editable("key", &header.key, "modified", &at)?),
        value: Format::parse(text)
            .map_err(|e| at.field("value").reject(e))?
            .omitting_empty(),
        append,
        keep_empty_value: option.keep_empty_value,
    })
}

fn removals(names: &[String], field: &'static str, at: &At) -> Result<Vec<HeaderName>, Rejection> {
    let parsed = names.iter().enumerate().map(|(i, name)| {
        let at = at.item(field, i);
        editable("", name, "removed", &at)
    });
    parsed.collect()
}

/// Envoy keeps `:path`, `:authority`, `host` and the like to the route's own rewrites.
fn editable(field: &'static str, name: &str, verb: &str, at: &At) -> Result<HeaderName, Rejection> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(at.field(field).reject(format_args!(
            "{name:?} may not be {verb} here: use the route's host_rewrite_literal, prefix_rewrite or regex_rewrite"
        )));
    }
    at.header_name(field, name)
}
