"""The bootstrap of a proxy whose config comes from the test program over one of its transports."""

# Where the program listens: gRPC, its REST gateway, its access-log service; where the proxy's admin interface is.
XDS_PORT, REST_PORT, ACCESS_LOG_PORT, ADMIN_PORT = 18000, 18001, 18090, 19000


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, port, http2=True):
    endpoint = {"endpoint": {"address": address(port)}}
    made = {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if http2:
        made["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return made


def grpc(kind):
    return {
        "api_type": kind,
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds_cluster"}}],
    }


def source(mode):
    """Where listeners, clusters and layers come from."""
    own = {
        "xds": grpc("GRPC"),
        "delta": grpc("DELTA_GRPC"),
        "rest": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": ["xds_cluster"],
            "refresh_delay": "0.5s",
        },
    }
    where = {"ads": {}} if mode.endswith("ads") else {"api_config_source": own[mode]}
    return {"resource_api_version": "V3", **where}


def layers(mode):
    """How many layers the runtime has; the aggregated stream shows that two share it."""
    return 2 if mode == "ads" else 1


def bootstrap(mode):
    dynamic = {"cds_config": source(mode), "lds_config": source(mode)}
    if mode.endswith("ads"):
        dynamic["ads_config"] = grpc("DELTA_GRPC" if mode == "delta-ads" else "GRPC")
    names = [f"runtime-{i}" for i in range(layers(mode))]
    return {
        "admin": {"address": address(ADMIN_PORT)},
        "node": {"id": "test-id", "cluster": "test-cluster"},
        "dynamic_resources": dynamic,
        "layered_runtime": {
            "layers": [{"name": n, "rtds_layer": {"name": n, "rtds_config": source(mode)}} for n in names]
        },
        "static_resources": {
            "clusters": [
                cluster("xds_cluster", REST_PORT if mode == "rest" else XDS_PORT, http2=mode != "rest"),
                cluster("als_cluster", ACCESS_LOG_PORT),
            ]
        },
    }
