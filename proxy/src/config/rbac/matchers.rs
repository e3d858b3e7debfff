//! Rules as a list of matchers of the generic matching API (`xds.type.matcher.v3.Matcher`).

use xds_api::{
    Message,
    envoy::{extensions::matching::input_matchers::ip::v3::Ip, r#type::matcher::v3 as ty},
    xds::{
        core::v3::TypedExtensionConfig,
        r#type::matcher::v3::{
            self as xds,
            matcher::{
                MatcherType, OnMatch,
                matcher_list::{
                    Predicate,
                    predicate::{MatchType, PredicateList, SinglePredicate, single_predicate},
                },
                on_match,
            },
        },
    },
};

use super::{
    super::{
        address,
        at::At,
        extension::{self, Category, Kind},
        matcher,
        rejection::Rejection,
    },
    action,
};
use crate::rbac::{Action, Condition, Input, NamedAction, Rules};

pub(super) fn parse(pb: &xds::Matcher, at: &At) -> Result<Rules, Rejection> {
    let mut matchers = Vec::new();
    match &pb.matcher_type {
        None => {}
        Some(MatcherType::MatcherTree(_)) => {
            return Err(at
                .field("matcher_tree")
                .reject("is not known to Pillion; use matcher_list"));
        }
        Some(MatcherType::MatcherList(list)) => {
            let at = at.field("matcher_list");
            for (i, field) in list.matchers.iter().enumerate() {
                let at = at.item("matchers", i);
                let predicate = at.required("predicate", field.predicate.as_deref())?;
                let condition = condition(predicate, &at.field("predicate"))?;
                let on_match = at.required("on_match", field.on_match.as_deref())?;
                matchers.push((condition, named_action(on_match, &at.field("on_match"))?));
            }
        }
    }
    let otherwise = match pb.on_no_match.as_deref() {
        Some(on_no_match) => Some(named_action(on_no_match, &at.field("on_no_match"))?),
        None => None,
    };
    let mut actions = matchers.iter().map(|(_, named)| named).chain(&otherwise);
    Ok(Rules::Matchers {
        logs: actions.any(|named| named.action == Action::Log),
        matchers: matchers.into(),
        otherwise,
    })
}

/// `envoy.config.rbac.v3.Action`, which only stands in an `Any` and so has no generated type.
#[derive(prost::Message)]
struct ActionConfig {
    #[prost(string, tag = "1")]
    name: String,
    /// `RBAC.Action`.
    #[prost(int32, tag = "2")]
    action: i32,
}

const ACTIONS: &[Kind<NamedAction>] = &[Kind {
    type_name: "envoy.config.rbac.v3.Action",
    parse: |extension, at| {
        let pb: ActionConfig = extension.decode(|bytes| Message::decode(bytes), at)?;
        Ok(NamedAction {
            name: at.non_empty("name", &pb.name)?.into(),
            action: action(pb.action, at)?,
        })
    },
}];

fn named_action(pb: &OnMatch, at: &At) -> Result<NamedAction, Rejection> {
    at.unsupported("keep_matching", pb.keep_matching)?;
    match &pb.on_match {
        Some(on_match::OnMatch::Action(action)) => typed(action, Category::MatcherAction, ACTIONS, &at.field("action")),
        Some(on_match::OnMatch::Matcher(_)) => Err(at
            .field("matcher")
            .reject("a matcher within a matcher is not known to Pillion")),
        None => Err(at.reject("does nothing: set action")),
    }
}

fn condition(pb: &Predicate, at: &At) -> Result<Condition, Rejection> {
    match &pb.match_type {
        None => Err(at.reject("matches nothing: set single_predicate, or_matcher, and_matcher or not_matcher")),
        Some(MatchType::SinglePredicate(single)) => self::single(single, &at.field("single_predicate")),
        Some(MatchType::OrMatcher(several)) => Ok(Condition::Or(conditions(several, &at.field("or_matcher"))?)),
        Some(MatchType::AndMatcher(several)) => Ok(Condition::And(conditions(several, &at.field("and_matcher"))?)),
        Some(MatchType::NotMatcher(one)) => Ok(Condition::Not(Box::new(condition(one, &at.field("not_matcher"))?))),
    }
}

fn conditions(pb: &PredicateList, at: &At) -> Result<Box<[Condition]>, Rejection> {
    let each = pb.predicate.iter().enumerate();
    each.map(|(i, one)| condition(one, &at.item("predicate", i))).collect()
}

fn single(pb: &SinglePredicate, at: &At) -> Result<Condition, Rejection> {
    use single_predicate::Matcher as M;
    let input = at.required("input", pb.input.as_deref())?;
    let input = typed(input, Category::MatcherInput, INPUTS, &at.field("input"))?;
    match &pb.matcher {
        None => Err(at.reject("has no pattern: set value_match or custom_match")),
        Some(M::ValueMatch(pattern)) => {
            let pattern = matcher::string(&envoys(pattern), &at.field("value_match"))?;
            Ok(Condition::Text(input, pattern))
        }
        Some(M::CustomMatch(custom)) => {
            let at = at.field("custom_match");
            let ranges = typed(custom, Category::Matcher, RANGES, &at)?;
            let within = |range| match input {
                Input::SourceIp => Some(Condition::RemoteIp(range)),
                Input::DirectSourceIp => Some(Condition::SourceIp(range)),
                Input::DestinationIp => Some(Condition::DestinationIp(range)),
                _ => None,
            };
            let conditions: Option<Box<[_]>> = ranges.into_iter().map(within).collect();
            conditions
                .map(Condition::Or)
                .ok_or_else(|| at.reject("matches addresses, and the input is none"))
        }
    }
}

fn typed<T>(pb: &TypedExtensionConfig, category: Category, kinds: &[Kind<T>], at: &At) -> Result<T, Rejection> {
    let at = at.field("typed_config");
    let known = extension::dispatch(category, pb.typed_config.as_ref(), false, kinds, &at)?;
    known.ok_or_else(|| at.reject("is required and not set"))
}

const RANGES: &[Kind<Vec<ipnet::IpNet>>] = &[Kind {
    type_name: "envoy.extensions.matching.input_matchers.ip.v3.Ip",
    parse: |extension, at| {
        let pb: Ip = extension.message(at)?;
        address::cidrs(&pb.cidr_ranges, "cidr_ranges", at)
    },
}];

const INPUTS: &[Kind<Input>] = &[
    Kind {
        type_name: "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
        parse: |extension, at| {
            let pb: ty::HttpRequestHeaderMatchInput = extension.message(at)?;
            matcher::header_field("header_name", &pb.header_name, at).map(Input::Header)
        },
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput",
        parse: |_, _| Ok(Input::UriSan),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.ssl.v3.DnsSanInput",
        parse: |_, _| Ok(Input::DnsSan),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput",
        parse: |_, _| Ok(Input::Subject),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.network.v3.ServerNameInput",
        parse: |_, _| Ok(Input::ServerName),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput",
        parse: |_, _| Ok(Input::SourceIp),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput",
        parse: |_, _| Ok(Input::DirectSourceIp),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput",
        parse: |_, _| Ok(Input::DestinationIp),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.network.v3.SourcePortInput",
        parse: |_, _| Ok(Input::SourcePort),
    },
    Kind {
        type_name: "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput",
        parse: |_, _| Ok(Input::DestinationPort),
    },
];

/// The same pattern as a message of Envoy's.
fn envoys(pb: &xds::StringMatcher) -> ty::StringMatcher {
    use ty::string_matcher::MatchPattern as Envoys;
    use xds::string_matcher::MatchPattern as P;
    let pattern = pb.match_pattern.as_ref().map(|pattern| match pattern {
        P::Exact(text) => Envoys::Exact(text.clone()),
        P::Prefix(text) => Envoys::Prefix(text.clone()),
        P::Suffix(text) => Envoys::Suffix(text.clone()),
        P::Contains(text) => Envoys::Contains(text.clone()),
        P::SafeRegex(regex) => Envoys::SafeRegex(Box::new(ty::RegexMatcher {
            regex: regex.regex.clone(),
            engine_type: None,
        })),
        P::Custom(custom) => Envoys::Custom(custom.clone()),
    });
    ty::StringMatcher {
        ignore_case: pb.ignore_case,
        match_pattern: pattern,
    }
}
