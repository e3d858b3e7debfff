use serde_json::{Value, json};

use super::{super::from_json::parsed, *};

fn parse_json(json: &Value) -> Result<LoadAssignment, String> {
    parsed(TYPE, json, parse).0
}

fn endpoint(host: &str) -> Value {
    json!({"endpoint": {"address": {"socket_address": {"address": host, "port_value": 80}}}})
}

#[test]
fn priorities_localities_and_attributes() {
    let mut canary = endpoint("10.0.0.1");
    canary["health_status"] = json!("DRAINING");
    canary["load_balancing_weight"] = json!(3);
    canary["metadata"] = json!({"filter_metadata": {"envoy.lb": {"canary": true, "n": 1.5}}});
    canary["endpoint"]["hostname"] = json!("h");
    canary["endpoint"]["additional_addresses"] = json!([{"address": {"pipe": {"path": "/x"}}}]);
    let assignment = parse_json(&json!({
        "cluster_name": "c",
        "endpoints": [
            {"priority": 2, "lb_endpoints": [endpoint("::1")]},
            {"locality": {"region": "r", "zone": "z"}, "load_balancing_weight": 4, "lb_endpoints": [canary]}
        ],
        "policy": {"drop_overloads": [{"category": "shed", "drop_percentage": {"numerator": 5}}]}
    }))
    .unwrap();
    let sizes: Vec<_> = assignment.priorities.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 0, 1]);
    assert_eq!(assignment.policy.overprovisioning_factor, 140);
    assert_eq!(assignment.policy.drop_overloads, [("shed".into(), 50_000)]);
    let locality = &assignment.priorities[0][0];
    assert_eq!((&*locality.locality.zone, locality.weight), ("z", 4));
    let (address, config) = &locality.endpoints[0];
    assert_eq!(address.to_string(), "10.0.0.1:80");
    assert_eq!(
        (config.weight, config.health, config.canary),
        (3, EdsHealth::Draining, true)
    );
    assert_eq!((&*config.hostname, config.additional_addresses.len()), ("h", 1));
    assert_eq!(
        **config.metadata.as_ref().unwrap(),
        json!({"envoy.lb": {"canary": true, "n": 1.5}}).into()
    );
    assert_eq!(assignment.priorities[2][0].endpoints[0].1.weight, 1);
}

#[test]
fn what_cannot_be_an_endpoint_is_refused_by_path() {
    let with =
        |list: Value| parse_json(&json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": list}]})).unwrap_err();
    assert_eq!(
        with(json!([endpoint("1.2.3.4"), endpoint("name")])),
        "cluster load assignment \"c\": endpoints[0].lb_endpoints[1].endpoint.address.socket_address.address: \
         \"name\" is no IP address; names are resolved in clusters of type STRICT_DNS or LOGICAL_DNS"
    );
    let empty = with(json!([{}]));
    assert!(empty.contains("lb_endpoints[0].endpoint: is required"), "{empty}");
    let overload = json!({"cluster_name": "c", "policy": {"drop_overloads": [
        {"category": "x", "drop_percentage": {"numerator": 200}}
    ]}});
    assert!(
        parse_json(&overload)
            .unwrap_err()
            .contains("drop_percentage.numerator: 200 is outside 0 to 100")
    );
}
