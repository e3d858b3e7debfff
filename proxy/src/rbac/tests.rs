use std::{cell::RefCell, rc::Rc, time::SystemTime};

use serde_json::json;

use super::*;
use crate::{
    address::Address,
    http::message::{Protocol, RequestHead},
    matcher::{StringMatcher, StringPattern, ValueMatcher},
    route::matcher::MetadataMatcher,
    stream_info::ConnectionInfo,
};

fn address(text: &str) -> Address {
    Address::from(text.parse::<std::net::SocketAddr>().unwrap())
}

fn connection() -> Rc<ConnectionInfo> {
    Rc::new(ConnectionInfo {
        id: 1,
        local_address: address("10.0.0.1:8080"),
        direct_local_address: address("10.0.0.1:15006"),
        remote_address: address("10.0.0.2:40000"),
        local_address_restored: true,
        requested_server_name: Some("a.test".into()),
        tls: None,
        listener_name: "".into(),
        filter_chain_name: "".into(),
        buffer_limit: 0,
        upstream_source: None,
        direction: crate::listener::TrafficDirection::Unspecified,
        start_time: SystemTime::UNIX_EPOCH,
        start: std::time::Instant::now(),
        state: RefCell::default(),
    })
}

fn exact(text: &str) -> StringMatcher {
    StringMatcher {
        pattern: StringPattern::Exact(text.into()),
        ignore_case: false,
    }
}

fn rules(action: Action, policies: Vec<(&str, Condition, Condition)>) -> Rules {
    let policy = |(name, permission, principal): (&str, _, _)| {
        let policy = Policy {
            permissions: [permission].into(),
            principals: [principal].into(),
        };
        (Arc::from(name), policy)
    };
    Rules::Policies {
        action,
        policies: policies.into_iter().map(policy).collect(),
    }
}

fn holds(condition: &Condition) -> bool {
    let (connection, mut request) = (connection(), RequestHead::unparsed(Protocol::Http11));
    request.path = http::HeaderValue::from_static("/a/b?c=d");
    let remote = address("192.0.2.1:1");
    let metadata = json!({"jwt": {"payload": {"groups": ["x", "admin"], "n": 3}}});
    let facts = Facts {
        request: Some(&request),
        connection: &connection,
        remote: &remote,
        dynamic_metadata: metadata.as_object(),
        route_metadata: None,
        has_route: false,
    };
    condition.holds(&facts)
}

#[derive(Default)]
struct Steps(Vec<(String, Option<&'static str>)>);

impl Trace for Steps {
    fn policy(&mut self, name: &str, failed: Option<&'static str>) {
        self.0.push((name.to_owned(), failed));
    }
}

#[test]
fn the_first_policy_that_matches_decides() {
    let connection = connection();
    let facts = Facts {
        request: None,
        connection: &connection,
        remote: &connection.remote_address,
        dynamic_metadata: None,
        route_metadata: None,
        has_route: false,
    };
    let policies = || {
        vec![
            ("a", Condition::DestinationPort(1..2), Condition::Any),
            ("b", Condition::Any, Condition::Authenticated(None)),
            ("c", Condition::Any, Condition::Any),
            ("d", Condition::Any, Condition::Any),
        ]
    };
    let mut steps = Steps::default();
    let allow = rules(Action::Allow, policies());
    let decision = decide(&allow, &facts, &mut steps);
    assert_eq!((decision.allowed, decision.matched.map(|m| &**m)), (true, Some("c")));
    let told: Vec<_> = steps.0.iter().map(|(name, failed)| (&**name, *failed)).collect();
    assert_eq!(
        told,
        [("a", Some("permissions")), ("b", Some("principals")), ("c", None)]
    );
    let deny = rules(Action::Deny, policies());
    let denied = decide(&deny, &facts, &mut ());
    assert!(!denied.allowed);
    assert_eq!(denied.details(), "rbac_access_denied_matched_policy[c]");
    let log = rules(Action::Log, policies());
    assert!(decide(&log, &facts, &mut ()).allowed);
}

#[test]
fn rules_without_policies_allow_nothing_and_deny_nothing() {
    let connection = connection();
    let facts = Facts {
        request: None,
        connection: &connection,
        remote: &connection.remote_address,
        dynamic_metadata: None,
        route_metadata: None,
        has_route: false,
    };
    let allow = rules(Action::Allow, Vec::new());
    let denied = decide(&allow, &facts, &mut ());
    assert_eq!(
        (denied.allowed, denied.details().as_str()),
        (false, "rbac_access_denied_matched_policy[none]")
    );
    assert!(decide(&rules(Action::Deny, Vec::new()), &facts, &mut ()).allowed);
}

#[test]
fn conditions() {
    let net = |text: &str| text.parse().unwrap();
    assert!(holds(&Condition::DestinationIp(net("10.0.0.0/24"))));
    assert!(holds(&Condition::DestinationPort(8080..8081)) && !holds(&Condition::DestinationPort(15006..15007)));
    assert!(holds(&Condition::SourceIp(net("10.0.0.2/32"))) && !holds(&Condition::SourceIp(net("192.0.2.0/24"))));
    assert!(holds(&Condition::RemoteIp(net("192.0.2.0/24"))));
    assert!(holds(&Condition::UrlPath(exact("/a/b"))));
    assert!(holds(&Condition::RequestedServerName(exact("a.test"))));
    assert!(!holds(&Condition::Authenticated(None)));
    assert!(holds(&Condition::Not(Box::new(Condition::UnknownFilterState))));
    assert!(holds(&Condition::And([].into())) && !holds(&Condition::Or([].into())));
}

#[test]
fn metadata_is_matched_by_its_type() {
    let at = |key: &str, value| MetadataMatcher {
        filter: "jwt".into(),
        path: vec!["payload".into(), key.into()],
        value,
        invert: false,
    };
    let admin = ValueMatcher::OneOf(Box::new(ValueMatcher::String(exact("admin"))));
    assert!(holds(&Condition::Metadata(at("groups", admin.clone()))));
    assert!(!holds(&Condition::RouteMetadata(at("groups", admin))));
    assert!(holds(&Condition::Metadata(at("n", ValueMatcher::Number(3.0)))));
    assert!(holds(&Condition::Metadata(at(
        "n",
        ValueMatcher::NumberRange(3.0, 4.0)
    ))));
    assert!(!holds(&Condition::Metadata(at("n", ValueMatcher::Null))));
    assert!(!holds(&Condition::Metadata(at("missing", ValueMatcher::Null))));
    assert!(!holds(&Condition::Metadata(at("n", ValueMatcher::Present(false)))));
}

#[test]
fn a_list_of_matchers_decides_by_the_first_that_holds() {
    let connection = connection();
    let facts = Facts {
        request: None,
        connection: &connection,
        remote: &connection.remote_address,
        dynamic_metadata: None,
        route_metadata: None,
        has_route: false,
    };
    let named = |name: &str, action| NamedAction {
        name: name.into(),
        action,
    };
    let list = |matchers: Vec<(Condition, NamedAction)>, otherwise: NamedAction| Rules::Matchers {
        matchers: matchers.into(),
        otherwise: Some(otherwise),
        logs: true,
    };
    let name = || {
        (
            Condition::Text(Input::ServerName, exact("a.test")),
            named("name", Action::Deny),
        )
    };
    let identity = || {
        (
            Condition::Text(Input::UriSan, exact("x")),
            named("identity", Action::Allow),
        )
    };
    let decided = |rules: &Rules| {
        let decision = decide(rules, &facts, &mut ());
        (decision.allowed, decision.matched.map(|m| m.to_string()), decision.log)
    };
    let rest = || named("rest", Action::Allow);
    let by_name = list(vec![name(), identity()], rest());
    assert_eq!(decided(&by_name), (false, Some("name".to_owned()), Some(false)));
    // There is no TLS session to look at: what comes after does not count.
    let unknown = list(vec![identity(), name()], rest());
    assert_eq!(decided(&unknown), (false, None, Some(false)));
    let logged = list(Vec::new(), named("log", Action::Log));
    assert_eq!(decided(&logged), (true, Some("log".to_owned()), Some(true)));
    let text = |input, wanted: &str| Condition::Text(input, exact(wanted)).holds(&facts);
    assert!(text(Input::SourceIp, "10.0.0.2") && text(Input::SourcePort, "40000"));
    assert!(text(Input::DestinationIp, "10.0.0.1") && text(Input::DestinationPort, "8080"));
    assert!(!text(Input::Subject, "") && !text(Input::DnsSan, ""));
}
