//! The client's envelopes against the generated types: same bytes.

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use xds_api::Message;
use xds_api::envoy::config::core::v3::{ControlPlane, Node};
use xds_api::envoy::service::discovery::v3 as api;
use xds_client::message;

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z0-9/*]{0,12}", 0..5)
}

proptest! {
    #[test]
    fn requests_are_what_envoys_api_says(
        names in words(), more in words(), version in ".{0,8}", nonce in ".{0,8}", error in prop::option::of(".{0,20}"),
        initial in prop::collection::btree_map("[a-z]{1,8}", "[0-9]{0,3}", 0..5),
    ) {
        let node = Node { id: "node".into(), cluster: "cluster".into(), ..Node::default() };
        let node_bytes = Bytes::from(node.encode_to_vec());
        let error_detail = error.map(|message| message::Status { code: 13, message });
        let status = error_detail.clone().map(|it| (it.code, it.message));

        let ours = message::DiscoveryRequest {
            version_info: version.clone(), node: node_bytes.clone(), resource_names: names.clone(), type_url: "t".into(),
            response_nonce: nonce.clone(), error_detail: error_detail.clone(),
        };
        let theirs = api::DiscoveryRequest::decode(&*Message::encode_to_vec(&ours)).unwrap();
        prop_assert_eq!(theirs.node.as_ref().map(|it| it.id.as_str()), Some("node"));
        prop_assert_eq!((&theirs.version_info, &theirs.resource_names, &theirs.response_nonce), (&version, &names, &nonce));
        prop_assert_eq!(&theirs.error_detail.map(|it| (it.code, it.message)), &status);

        let ours = message::DeltaDiscoveryRequest {
            node: node_bytes, type_url: "t".into(), resource_names_subscribe: names.clone(),
            resource_names_unsubscribe: more.clone(), initial_resource_versions: initial.clone(),
            response_nonce: nonce.clone(), error_detail,
        };
        let theirs = api::DeltaDiscoveryRequest::decode(&*Message::encode_to_vec(&ours)).unwrap();
        prop_assert_eq!(theirs.node.as_ref().map(|it| it.cluster.as_str()), Some("cluster"));
        prop_assert_eq!((theirs.resource_names_subscribe, theirs.resource_names_unsubscribe), (names, more));
        prop_assert_eq!((theirs.type_url.as_str(), theirs.response_nonce), ("t", nonce));
        prop_assert_eq!(theirs.initial_resource_versions.into_iter().collect::<BTreeMap<_, _>>(), initial);
        prop_assert_eq!(theirs.error_detail.map(|it| (it.code, it.message)), status);
    }

    #[test]
    fn responses_are_read_as_envoys_api_says(
        names in words(), removed in words(), version in ".{0,8}", nonce in ".{0,8}", ttl in prop::option::of(1_i64..9),
    ) {
        let any = |name: &String| xds_api::pb::Any { type_url: "t".into(), value: name.clone().into_bytes().into() };
        let control_plane = || Some(ControlPlane { identifier: "plane".into() });
        let theirs = api::DiscoveryResponse {
            version_info: version.clone(), resources: names.iter().map(any).collect(), type_url: "t".into(),
            nonce: nonce.clone(), control_plane: control_plane().map(Box::new), ..Default::default()
        };
        let ours: message::DiscoveryResponse = Message::decode(&*theirs.encode_to_vec()).unwrap();
        prop_assert_eq!((&ours.version_info, &ours.nonce, ours.type_url.as_str()), (&version, &nonce, "t"));
        prop_assert_eq!(ours.control_plane.unwrap().identifier, "plane");
        prop_assert_eq!(ours.resources.iter().map(|it| it.value.to_vec()).collect::<Vec<_>>(),
            names.iter().map(|it| it.clone().into_bytes()).collect::<Vec<_>>());

        let resource = |name: &String| api::Resource {
            name: name.clone(), aliases: removed.clone(), version: version.clone(), resource: Some(any(name)),
            ttl: ttl.map(|seconds| xds_api::pb::Duration { seconds, nanos: 5 }), ..Default::default()
        };
        let theirs = api::DeltaDiscoveryResponse {
            system_version_info: version.clone(), resources: names.iter().map(resource).collect(), type_url: "t".into(),
            nonce: nonce.clone(), removed_resources: removed.clone(), ..Default::default()
        };
        let ours: message::DeltaDiscoveryResponse = Message::decode(&*theirs.encode_to_vec()).unwrap();
        prop_assert_eq!((&ours.system_version_info, &ours.nonce, &ours.removed_resources), (&version, &nonce, &removed));
        for (ours, name) in ours.resources.iter().zip(&names) {
            prop_assert_eq!((&ours.name, &ours.aliases, &ours.version), (name, &removed, &version));
            prop_assert_eq!(ours.ttl, ttl.map(|seconds| message::Duration { seconds, nanos: 5 }));
            prop_assert_eq!(&*ours.resource.as_ref().unwrap().value, name.as_bytes());
        }
    }
}
