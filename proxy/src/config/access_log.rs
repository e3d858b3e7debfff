//! Access logs, their filters, and the formats that they share with local replies.

use std::{fs::OpenOptions, sync::Arc};

use xds_api::{
    envoy::{
        config::{accesslog::v3 as pb, core::v3 as core},
        extensions::access_loggers::{
            file::v3::{FileAccessLog, file_access_log::AccessLogFormat as F},
            stream::v3::{
                StderrAccessLog, StdoutAccessLog, stderr_access_log::AccessLogFormat as StderrFormat,
                stdout_access_log::AccessLogFormat as StdoutFormat,
            },
        },
    },
    json::from_struct,
    pb::Struct,
};

mod grpc;

use super::{
    at::At,
    data_source,
    extension::{self, Category, Kind},
    matcher,
    rejection::Rejection,
};
use crate::{
    access_log::{AccessLog, Comparison, Filter, LogFormat, Sink},
    failure::ResponseFlags,
    format::{Format, Formatters, JsonFormat},
    http::ReplyBody,
    route::matcher::RuntimeFraction,
};

/// Envoy's format where a log names none.
const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

const LOGGERS: &[Kind<Sink>] = &[
    Kind {
        type_name: "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        parse: grpc::http,
    },
    Kind {
        type_name: "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig",
        parse: grpc::tcp,
    },
    Kind {
        type_name: "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        parse: |extension, at| {
            let pb: FileAccessLog = extension.message(at)?;
            Ok(Sink::File {
                path: writable("path", &pb.path, at)?,
                format: match &pb.access_log_format {
                    None => plain(DEFAULT_FORMAT, at)?,
                    Some(F::Format(format)) if format.is_empty() => plain(DEFAULT_FORMAT, at)?,
                    Some(F::Format(format)) => plain(format, &at.field("format"))?,
                    Some(F::JsonFormat(format)) => {
                        json(format, Formatters::default(), false, &at.field("json_format"))?
                    }
                    Some(F::TypedJsonFormat(format)) => {
                        json(format, Formatters::default(), false, &at.field("typed_json_format"))?
                    }
                    Some(F::LogFormat(format)) => self::format(format, &at.field("log_format"))?,
                },
            })
        },
    },
    Kind {
        type_name: "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        parse: |extension, at| {
            let pb: StdoutAccessLog = extension.message(at)?;
            let format = pb.access_log_format.as_ref().map(|StdoutFormat::LogFormat(f)| &**f);
            stream("/dev/stdout", format, at)
        },
    },
    Kind {
        type_name: "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        parse: |extension, at| {
            let pb: StderrAccessLog = extension.message(at)?;
            let format = pb.access_log_format.as_ref().map(|StderrFormat::LogFormat(f)| &**f);
            stream("/dev/stderr", format, at)
        },
    },
];

/// A log that cannot be written is found out now, not at the first request.
pub(crate) fn writable(field: &'static str, path: &str, at: &At) -> Result<Arc<str>, Rejection> {
    /// Inherited, and written without being opened.
    const INHERITED: [&str; 2] = ["/dev/stdout", "/dev/stderr"];
    at.non_empty(field, path)?;
    if !INHERITED.contains(&path) {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|e| at.field(field).reject(format_args!("cannot open {path:?}: {e}")))?;
    }
    Ok(path.into())
}

fn stream(path: &str, pb: Option<&core::SubstitutionFormatString>, at: &At) -> Result<Sink, Rejection> {
    Ok(Sink::File {
        path: path.into(),
        format: match pb {
            Some(pb) => format(pb, &at.field("log_format"))?,
            None => plain(DEFAULT_FORMAT, at)?,
        },
    })
}

/// Loggers that are not known are left out: they guard nothing.
pub(crate) fn parse(pbs: &[pb::AccessLog], field: &'static str, at: &At) -> Result<Vec<AccessLog>, Rejection> {
    use pb::access_log::ConfigType::TypedConfig;
    let mut logs = Vec::with_capacity(pbs.len());
    for (i, log) in pbs.iter().enumerate() {
        let at = at.item(field, i);
        let any = log.config_type.as_ref().map(|TypedConfig(any)| any);
        let at_config = at.field("typed_config");
        let Some(sink) = extension::dispatch(Category::AccessLogger, any, false, LOGGERS, &at_config)? else {
            continue;
        };
        match log
            .filter
            .as_deref()
            .map(|f| filter(f, &at.field("filter")))
            .transpose()?
        {
            None => logs.push(AccessLog { filter: None, sink }),
            Some(Some(filter)) => logs.push(AccessLog {
                filter: Some(filter),
                sink,
            }),
            // Better no line than a line that the config wanted left out.
            Some(None) => at.note("is skipped, because its filter cannot be evaluated"),
        }
    }
    Ok(logs)
}

/// `None`: a part of it is not known to Pillion.
pub(crate) fn filter(pb: &pb::AccessLogFilter, at: &At) -> Result<Option<Filter>, Rejection> {
    use pb::access_log_filter::FilterSpecifier as S;
    Ok(Some(match &pb.filter_specifier {
        None => return Err(at.reject("names no condition")),
        Some(S::StatusCodeFilter(status)) => {
            let at = at.field("status_code_filter");
            let (op, value) = comparison(status.comparison.as_deref(), &at)?;
            Filter::StatusCode { op, value }
        }
        Some(S::DurationFilter(duration)) => {
            let at = at.field("duration_filter");
            let (op, value) = comparison(duration.comparison.as_deref(), &at)?;
            Filter::Duration {
                op,
                value: value.into(),
            }
        }
        Some(S::NotHealthCheckFilter(_)) => Filter::NotHealthCheck,
        Some(S::TraceableFilter(_)) => Filter::Traceable,
        Some(S::RuntimeFilter(runtime)) => {
            let at = at.field("runtime_filter");
            Filter::Runtime(RuntimeFraction {
                runtime_key: at.non_empty("runtime_key", &runtime.runtime_key)?.into(),
                default_millionths: match &runtime.percent_sampled {
                    Some(percent) => at.millionths("percent_sampled", percent)?,
                    None => 0,
                },
            })
        }
        Some(S::AndFilter(and)) => match several(&and.filters, &at.field("and_filter"))? {
            Some(filters) => Filter::And(filters),
            None => return Ok(None),
        },
        Some(S::OrFilter(or)) => match several(&or.filters, &at.field("or_filter"))? {
            Some(filters) => Filter::Or(filters),
            None => return Ok(None),
        },
        Some(S::HeaderFilter(header)) => {
            let at = at.field("header_filter");
            let header = at.required("header", header.header.as_deref())?;
            Filter::Header(Box::new(matcher::header(header, &at.field("header"))?))
        }
        Some(S::ResponseFlagFilter(wanted)) => {
            let mut flags = ResponseFlags::default();
            for (i, name) in wanted.flags.iter().enumerate() {
                flags.insert(ResponseFlags::from_short(name).ok_or_else(|| {
                    let at = at.item("response_flag_filter.flags", i);
                    at.reject(format_args!("{name:?} is no response flag"))
                })?);
            }
            Filter::ResponseFlag(flags)
        }
        Some(S::GrpcStatusFilter(grpc)) => {
            let mut statuses = Vec::with_capacity(grpc.statuses.len());
            for &status in &grpc.statuses {
                let at = at.field("grpc_status_filter");
                at.enumeration::<pb::grpc_status_filter::Status>("statuses", status)?;
                statuses.push(u32::try_from(status).unwrap_or_default());
            }
            Filter::GrpcStatus {
                statuses,
                exclude: grpc.exclude,
            }
        }
        Some(S::MetadataFilter(metadata)) => {
            let at = at.field("metadata_filter");
            let Some(matcher) = metadata.matcher.as_deref() else {
                return Ok(None);
            };
            Filter::Metadata {
                matcher: Box::new(matcher::metadata(matcher, &at.field("matcher"))?),
                if_missing: metadata.match_if_key_not_found.unwrap_or(true),
            }
        }
        Some(S::LogTypeFilter(log_type)) => {
            use xds_api::envoy::data::accesslog::v3::AccessLogType as T;
            let at = at.field("log_type_filter");
            let mut ended = false;
            for &wanted in &log_type.types {
                let wanted = at.enumeration::<T>("types", wanted)?;
                ended |= matches!(wanted, T::DownstreamEnd | T::TcpConnectionEnd);
            }
            Filter::LogType(ended != log_type.exclude)
        }
        Some(S::ExtensionFilter(_)) => return Ok(None),
    }))
}

fn several(pbs: &[pb::AccessLogFilter], at: &At) -> Result<Option<Vec<Filter>>, Rejection> {
    let parsed = pbs.iter().enumerate().map(|(i, pb)| filter(pb, &at.item("filters", i)));
    parsed.collect()
}

fn comparison(pb: Option<&pb::ComparisonFilter>, at: &At) -> Result<(Comparison, u32), Rejection> {
    use pb::comparison_filter::Op;
    let pb = at.required("comparison", pb)?;
    let at = at.field("comparison");
    let value = at.required("value", pb.value.as_deref())?;
    let op = match at.enumeration("op", pb.op)? {
        Op::Eq => Comparison::Eq,
        Op::Ge => Comparison::Ge,
        Op::Le => Comparison::Le,
        Op::Ne => Comparison::Ne,
    };
    Ok((op, value.default_value))
}

#[derive(Debug, PartialEq, Eq)]
enum Formatter {
    ReqWithoutQuery,
    /// Its operator is known without it.
    BuiltIn,
}

const FORMATTERS: &[Kind<Formatter>] = &[
    Kind {
        type_name: "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
        parse: |_, _| Ok(Formatter::ReqWithoutQuery),
    },
    Kind {
        type_name: "envoy.extensions.formatter.metadata.v3.Metadata",
        parse: |_, _| Ok(Formatter::BuiltIn),
    },
];

pub(crate) fn format(pb: &core::SubstitutionFormatString, at: &At) -> Result<LogFormat, Rejection> {
    use core::substitution_format_string::Format as S;
    let mut formatters = Formatters::default();
    for (i, formatter) in pb.formatters.iter().enumerate() {
        let at = at.item("formatters", i);
        let at = at.field("typed_config");
        let any = formatter.typed_config.as_ref();
        if let Some(name) = extension::dispatch(Category::Formatter, any, false, FORMATTERS, &at)? {
            formatters.req_without_query |= name == Formatter::ReqWithoutQuery;
        }
    }
    match &pb.format {
        None => Err(at.reject("is empty: set text_format_source or json_format")),
        Some(S::TextFormat(format)) => text(format, formatters, pb.omit_empty_values, &at.field("text_format")),
        Some(S::TextFormatSource(source)) => {
            let at = at.field("text_format_source");
            text(
                &data_source::read_text(source, &at)?,
                formatters,
                pb.omit_empty_values,
                &data_source::specified(source, &at),
            )
        }
        Some(S::JsonFormat(format)) => json(format, formatters, pb.omit_empty_values, &at.field("json_format")),
    }
}

/// A body made from a format, of a local reply or a direct response.
pub(crate) fn reply_body(pb: &core::SubstitutionFormatString, at: &At) -> Result<ReplyBody, Rejection> {
    Ok(ReplyBody {
        format: format(pb, at)?,
        content_type: match pb.content_type.as_str() {
            "" => None,
            content_type => Some(at.header_value("content_type", content_type)?),
        },
    })
}

/// Envoy's format where a log names none.
pub(crate) fn default_format(at: &At) -> Result<LogFormat, Rejection> {
    plain(DEFAULT_FORMAT, at)
}

fn plain(format: &str, at: &At) -> Result<LogFormat, Rejection> {
    text(format, Formatters::default(), false, at)
}

fn text(format: &str, formatters: Formatters, omit_empty: bool, at: &At) -> Result<LogFormat, Rejection> {
    let parsed = Format::with(formatters, format).map_err(|e| at.reject(e))?;
    Ok(LogFormat::Text(if omit_empty {
        parsed.omitting_empty()
    } else {
        parsed
    }))
}

fn json(format: &Struct, formatters: Formatters, omit_empty: bool, at: &At) -> Result<LogFormat, Rejection> {
    let parsed = JsonFormat::parse(&from_struct(format), formatters).map_err(|e| at.reject(e))?;
    Ok(LogFormat::Json(if omit_empty {
        parsed.omitting_empty()
    } else {
        parsed
    }))
}
