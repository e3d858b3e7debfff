//! Permissions and principals.

use xds_api::envoy::{
    config::rbac::v3::{self as pb, permission::Rule, principal::Identifier},
    r#type::matcher::v3 as ty,
};

use super::super::{address, at::At, matcher, rejection::Rejection};
use crate::{matcher::StringMatcher, rbac::Condition};

/// One past the last port.
const PORTS_END: i32 = 65536;

pub(super) fn permissions(pbs: &[pb::Permission], field: &'static str, at: &At) -> Result<Box<[Condition]>, Rejection> {
    let each = pbs.iter().enumerate();
    each.map(|(i, pb)| permission(pb, &at.item(field, i))).collect()
}

pub(super) fn principals(pbs: &[pb::Principal], field: &'static str, at: &At) -> Result<Box<[Condition]>, Rejection> {
    let each = pbs.iter().enumerate();
    each.map(|(i, pb)| principal(pb, &at.item(field, i))).collect()
}

fn permission(pb: &pb::Permission, at: &At) -> Result<Condition, Rejection> {
    let Some(rule) = &pb.rule else {
        return Err(at.reject("names no rule"));
    };
    Ok(match rule {
        Rule::Any(_) => Condition::Any,
        Rule::AndRules(set) => Condition::And(permissions(&set.rules, "and_rules.rules", at)?),
        Rule::OrRules(set) => Condition::Or(permissions(&set.rules, "or_rules.rules", at)?),
        Rule::NotRule(rule) => Condition::Not(Box::new(permission(rule, &at.field("not_rule"))?)),
        Rule::Header(header) => Condition::Header(matcher::header(header, &at.field("header"))?),
        Rule::UrlPath(path) => Condition::UrlPath(url_path(path, &at.field("url_path"))?),
        Rule::UriTemplate(template) => {
            Condition::UriTemplate(matcher::path_template(template, &at.field("uri_template"))?)
        }
        Rule::DestinationIp(range) => Condition::DestinationIp(address::cidr(range, &at.field("destination_ip"))?),
        Rule::DestinationPort(port) => Condition::DestinationPort(*port..*port + 1),
        Rule::DestinationPortRange(range) => {
            let ports = 0..=PORTS_END;
            if !ports.contains(&range.start) || !ports.contains(&range.end) || range.start >= range.end {
                return Err(at.field("destination_port_range").reject(format_args!(
                    "{}..{} is no range of ports: the start must be below the end, the end at most {PORTS_END}",
                    range.start, range.end
                )));
            }
            Condition::DestinationPort(range.start.unsigned_abs()..range.end.unsigned_abs())
        }
        Rule::Metadata(metadata) => Condition::Metadata(matcher::metadata(metadata, &at.field("metadata"))?),
        Rule::SourcedMetadata(metadata) => sourced(metadata, &at.field("sourced_metadata"))?,
        Rule::RequestedServerName(name) => {
            Condition::RequestedServerName(matcher::string(name, &at.field("requested_server_name"))?)
        }
        Rule::Matcher(extension) => {
            return Err(at.field("matcher").reject(format_args!(
                "the matcher {:?} is not known to Pillion, and what it guards would be open without it",
                extension.name
            )));
        }
    })
}

fn principal(pb: &pb::Principal, at: &At) -> Result<Condition, Rejection> {
    let Some(identifier) = &pb.identifier else {
        return Err(at.reject("names no identifier"));
    };
    let range = |range, field| address::cidr(range, &at.field(field));
    Ok(match identifier {
        Identifier::Any(_) => Condition::Any,
        Identifier::AndIds(set) => Condition::And(principals(&set.ids, "and_ids.ids", at)?),
        Identifier::OrIds(set) => Condition::Or(principals(&set.ids, "or_ids.ids", at)?),
        Identifier::NotId(id) => Condition::Not(Box::new(principal(id, &at.field("not_id"))?)),
        Identifier::Authenticated(authenticated) => {
            let at = at.field("authenticated.principal_name");
            let name = authenticated.principal_name.as_deref();
            Condition::Authenticated(name.map(|name| matcher::string(name, &at)).transpose()?)
        }
        Identifier::SourceIp(ip) => Condition::SourceIp(range(ip, "source_ip")?),
        Identifier::DirectRemoteIp(ip) => Condition::SourceIp(range(ip, "direct_remote_ip")?),
        Identifier::RemoteIp(ip) => Condition::RemoteIp(range(ip, "remote_ip")?),
        Identifier::Header(header) => Condition::Header(matcher::header(header, &at.field("header"))?),
        Identifier::UrlPath(path) => Condition::UrlPath(url_path(path, &at.field("url_path"))?),
        Identifier::Metadata(metadata) => Condition::Metadata(matcher::metadata(metadata, &at.field("metadata"))?),
        Identifier::SourcedMetadata(metadata) => sourced(metadata, &at.field("sourced_metadata"))?,
        Identifier::FilterState(state) => {
            at.field("filter_state").note(format_args!(
                "nothing sets a filter state {:?} here: the principal matches nobody",
                state.key
            ));
            Condition::UnknownFilterState
        }
        Identifier::Custom(extension) => {
            return Err(at.field("custom").reject(format_args!(
                "the principal {:?} is not known to Pillion, and what it guards would be open without it",
                extension.name
            )));
        }
    })
}

fn url_path(pb: &ty::PathMatcher, at: &At) -> Result<StringMatcher, Rejection> {
    let ty::path_matcher::Rule::Path(path) = at.required("path", pb.rule.as_ref())?;
    matcher::string(path, &at.field("path"))
}

fn sourced(pb: &pb::SourcedMetadata, at: &At) -> Result<Condition, Rejection> {
    let metadata = at.required("metadata_matcher", pb.metadata_matcher.as_deref())?;
    let metadata = matcher::metadata(metadata, &at.field("metadata_matcher"))?;
    Ok(
        match at.enumeration::<pb::MetadataSource>("metadata_source", pb.metadata_source)? {
            pb::MetadataSource::Dynamic => Condition::Metadata(metadata),
            pb::MetadataSource::Route => Condition::RouteMetadata(metadata),
        },
    )
}
